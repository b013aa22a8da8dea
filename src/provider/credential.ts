import type { HeaderWriter } from "../header-fields.ts";
import type { Provider } from "./provider.ts";

/** Where clients put their own key, in whatever dialect; none of them may go out beside ours. */
const keyHeaders = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/** The header in which a provider takes its key where that is not `Authorization: Bearer`. */
const own: Partial<Record<Provider, string>> = {
  anthropic: "x-api-key",
  azure: "api-key",
  gemini: "x-goog-api-key",
};

/**
 * Puts `key` into a request's `headers` in the place of the client's.
 *
 * Sources: https://docs.anthropic.com/en/api/overview, https://learn.microsoft.com/azure/ai-services/openai/reference,
 * https://ai.google.dev/gemini-api/docs/api-key; the others take a bearer token (RFC 6750).
 */
export function setKey(headers: HeaderWriter, provider: Provider, key: string): void {
  for (const name of keyHeaders) headers.delete(name);
  const name = own[provider];
  if (name === undefined) headers.set("authorization", `Bearer ${key}`);
  else headers.set(name, key);
}
