import type { Provider } from "../provider/provider.ts";

/** Which provider answers at a domain, for quotas that do not say. */
const domains: Readonly<Record<string, Provider>> = {
  "api.cerebras.ai": "cerebras",
  "inference.cerebras.ai": "cerebras",
  "api.openai.com": "openai",
  "openai.azure.com": "azure",
  "cognitiveservices.azure.com": "azure",
  "api.anthropic.com": "anthropic",
  "generativelanguage.googleapis.com": "gemini",
  "api.groq.com": "groq",
  "api.mistral.ai": "mistral",
  "openrouter.ai": "openrouter",
  "api.github.com": "github",
  "models.github.ai": "github",
  "models.inference.ai.azure.com": "github",
};

/** The provider that is known to answer at `domain` (lowercased, exact or wildcard) or under it, else `generic`. */
export function providerOf(domain: string): Provider {
  const host = domain.replace(/^\*\./, "").replace(/:\d+$/, "");
  const known = Object.keys(domains).find((name) => host === name || host.endsWith(`.${name}`));
  return (known === undefined ? undefined : domains[known]) ?? "generic";
}
