/** The providers whose wire format and accounting a quota can name (`provider:` in the configuration). */
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

export type Provider = (typeof providers)[number];
