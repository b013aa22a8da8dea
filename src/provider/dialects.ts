import { anthropic } from "./anthropic.ts";
import type { Dialect } from "./dialect.ts";
import { openai } from "./openai.ts";
import type { Provider } from "./provider.ts";

/** The dialect each provider speaks unless the path says otherwise. */
const rows = {
  cerebras: openai,
  openai,
  azure: openai,
  anthropic,
  gemini: openai,
  groq: openai,
  mistral: openai,
  openrouter: openai,
  github: openai,
  generic: openai,
} satisfies Record<Provider, Dialect>;

/**
 * The wire format of a call.
 *
 * Several providers serve Anthropic's messages beside their own API, always at `/v1/messages`; OpenAI's own
 * `/v1/threads/ID/messages` is not that.
 * @param path without the query.
 */
export function dialectOf(provider: Provider, path: string): Dialect {
  return isMessages(path) ? anthropic : rows[provider];
}

/**
 * The format in which to tell a client an error of ours: by what the client speaks, even where the call is not
 * metered. `anthropicVersion` is its `anthropic-version` header, which every Anthropic SDK sends.
 */
export function errorDialectOf(
  provider: Provider | null,
  path: string,
  anthropicVersion: string | null,
): Dialect {
  return anthropicVersion === null ? dialectOf(provider ?? "generic", path) : anthropic;
}

function isMessages(path: string): boolean {
  return path === "/v1/messages" || path.startsWith("/v1/messages/") || path === "/api/v1/messages";
}
