import { retryAfter } from "./profile.ts";
import type { Profile } from "./profile.ts";

/**
 * Any HTTP API with a request limit: every method and path is answered with what was received. The body is
 * counted, not kept, so uploads of any size do.
 */
export const plain: Profile = {
  units: ["requests"],
  algorithm: "sliding_window",
  limits: {},
  streamUsage: "never",
  settling: "actual",
  cachedIsFree: true,
  chargesRefused: false,
  idHeader: null,

  async read(request, url, context) {
    let bodyBytes = 0;
    if (request.body) for await (const chunk of request.body) bodyBytes += chunk.byteLength;
    const body = JSON.stringify({
      method: request.method,
      path: url.pathname + url.search,
      headers: Object.fromEntries(request.headers),
      body_bytes: bodyBytes,
    });
    const prompt = context.prompt({ tokens: 0, characters: 0 });
    return { kind: "call", call: { kind: "fixed", model: "", ...prompt, body } };
  },

  reservedTokens: () => 0,
  headers: () => ({}),
  refusal: (refusal) => {
    const { window, limit } = refusal.by;
    const error = `More than ${limit} requests per ${window}.`;
    return Response.json({ error }, { status: 429, headers: retryAfter(refusal) });
  },
  outOfCredit: null,
  error: (status, message) => Response.json({ error: message }, { status }),
};
