import type { HeaderReader } from "../header-fields.ts";
import { deploymentIn } from "./azure.ts";
import type { Usage } from "./dialect.ts";
import { readCount } from "./fields.ts";
import { openAiLike } from "./openai-like.ts";

/**
 * Whatever speaks OpenAI's format (llama.cpp, vLLM, gateways in front of the others): all known variations at once.
 *
 * Two kinds of server say in headers what their body may not: Text Generation Inference
 * (https://github.com/huggingface/text-generation-inference, `router/src/server.rs`) and Amazon Bedrock
 * (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html).
 */
export const generic = openAiLike({
  name: "generic",
  extension: "x_groq",
  modelOf: deploymentIn,
  usageInHeaders,
});

const countedIn = [
  ["x-prompt-tokens", "x-generated-tokens"],
  ["x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count"],
] as const;

function usageInHeaders(headers: HeaderReader): Usage | null {
  for (const [inputName, outputName] of countedIn) {
    const input = readCount(Number(headers.get(inputName)));
    const output = readCount(Number(headers.get(outputName)));
    if (input + output > 0) return { input, output, total: input + output, cachedInput: 0 };
  }
  return null;
}
