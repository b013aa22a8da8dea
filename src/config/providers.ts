/** Wire formats with their way of counting that a quota can name. */
export const providers = [
  "cerebras",
  "openai",
  "azure",
  "anthropic",
  "gemini",
  "groq",
  "mistral",
  "openrouter",
  "github",
  "generic",
] as const;

/** Which provider answers at a domain, for quotas that do not say. */
const domains: Readonly<Record<string, (typeof providers)[number]>> = {
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
  "models.github.ai": "github",
  "models.inference.ai.azure.com": "github",
};

/** The provider that is known to answer at `domain` (lowercased, exact or wildcard) or under it, else `generic`. */
export function providerOf(domain: string): (typeof providers)[number] {
  const host = domain.replace(/^\*\./, "").replace(/:\d+$/, "");
  const known = Object.keys(domains).find((name) => host === name || host.endsWith(`.${name}`));
  return (known === undefined ? undefined : domains[known]) ?? "generic";
}
