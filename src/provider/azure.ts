import { openAiLike } from "./openai-like.ts";

/**
 * Azure OpenAI: the path may name the deployment in place of a model, and a stream's first event has
 * `prompt_filter_results` and no choices.
 *
 * Source: https://learn.microsoft.com/azure/ai-services/openai/reference.
 */
export const azure = openAiLike({ name: "azure", modelOf: deploymentIn });

/** The deployment in `/openai/deployments/NAME/chat/completions`, empty where the path names none. */
export function deploymentIn(path: string): string {
  const name = /\/deployments\/([^/]+)\//.exec(path)?.[1];
  if (name === undefined) return "";
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
