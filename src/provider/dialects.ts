import { anthropic } from "./anthropic.ts";
import { azure } from "./azure.ts";
import { cerebras } from "./cerebras.ts";
import type { Dialect } from "./dialect.ts";
import { gemini } from "./gemini.ts";
import { geminiMethod } from "./gemini-call.ts";
import { generic } from "./generic.ts";
import { groq } from "./groq.ts";
import { mistral } from "./mistral.ts";
import { openai } from "./openai.ts";
import { openrouter } from "./openrouter.ts";
import type { Provider } from "./provider.ts";

/** The dialect each provider speaks unless the path says otherwise. */
const rows = {
  cerebras,
  openai,
  azure,
  anthropic,
  gemini,
  groq,
  mistral,
  openrouter,
  github: generic,
  generic,
} satisfies Record<Provider, Dialect>;

/**
 * The wire format of a call.
 *
 * Several providers serve another's format beside their own, told by the path: Anthropic's messages always at
 * `/v1/messages` (OpenAI's own `/v1/threads/ID/messages` is not that), Gemini's methods at `MODEL:METHOD`, and
 * OpenAI's at Anthropic and under Gemini's `/v1beta/openai/`.
 * @param path without the query
 */
export function dialectOf(provider: Provider, path: string): Dialect {
  if (isMessages(path)) return anthropic;
  if (geminiMethod(path) !== null) return gemini;
  const own = rows[provider];
  if (own !== anthropic && own !== gemini) return own;
  const isOpenAi = path.includes("/openai/") || generic.isMetered("POST", path);
  return isOpenAi ? generic : own;
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
