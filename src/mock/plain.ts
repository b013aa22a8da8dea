import type { Profile } from "./profile.ts";

/**
 * Any HTTP API with a request limit: every method and path is answered with what was received. The body is
 * counted, not kept, so uploads of any size do.
 */
export const plain: Profile = {
  metersTokens: false,
  algorithm: "sliding_window",
  limits: {},
  streamUsage: "never",

  async read(request, url) {
    let bodyBytes = 0;
    if (request.body) for await (const chunk of request.body) bodyBytes += chunk.byteLength;
    const body = JSON.stringify({
      method: request.method,
      path: url.pathname + url.search,
      headers: Object.fromEntries(request.headers),
      body_bytes: bodyBytes,
    });
    return { kind: "call", call: { kind: "fixed", promptTokens: 0, body } };
  },

  reservedTokens: () => 0,
  headers: () => ({}),
  refusal: ({ window, limit }) =>
    Response.json({ error: `More than ${limit} requests per ${window}.` }, { status: 429 }),
  error: (status, message) => Response.json({ error: message }, { status }),
};
