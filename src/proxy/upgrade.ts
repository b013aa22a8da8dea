import { ProxyError } from "../errors.ts";
import type { Clock } from "../clock.ts";
import type { Fields } from "../upstream/headers.ts";
import { stripResponseHeaders } from "../upstream/headers.ts";
import type { Answer, Upstream } from "../upstream/upstream.ts";
import type { Exchange } from "./exchange.ts";
import { setOwnHeaders } from "./reply.ts";

/** Passes a WebSocket on: to the upstream first, and then to the client. */
export interface Upgrade extends Pick<Upstream, "send"> {
  /**
   * Switches the client's connection over, after `send` has resolved with status 101.
   * @param headers for the answer to the client
   * @param onEnd called once, when both sides are closed, with a word for the log
   * @returns false where the client has gone; then `onEnd` is not called
   */
  accept(headers: Bun.HeadersInit, onEnd: (outcome: string) => void): boolean;
}

/** What both sides say about the connection between them, and not about the one behind. */
const ofHandshake = ["sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-key"];

/**
 * Whether a request asks for a WebSocket. Other protocols to upgrade to are not passed on.
 * @throws ProxyError `INVALID_REQUEST` where it asks for one in a way that cannot be answered (RFC 6455 §4.2.1)
 */
export function asksForWebSocket(method: string, fields: Fields): boolean {
  if (fields["upgrade"]?.trim().toLowerCase() !== "websocket") return false;
  const key = fields["sec-websocket-key"] ?? "";
  if (method === "GET" && fields["sec-websocket-version"] === "13" && /^[\w+/]{22}==$/.test(key))
    return true;
  throw new ProxyError(
    "INVALID_REQUEST",
    "A WebSocket needs GET, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 16 bytes.",
  );
}

/** Joins the client to the WebSocket that the upstream has opened. The exchange ends with it. */
export function switchProtocols(
  answer: Answer,
  upgrade: Upgrade,
  exchange: Exchange,
  { server, clock }: { server: string; clock: Clock },
): Response {
  const { headers } = answer;
  stripResponseHeaders(headers);
  for (const name of ofHandshake) headers.delete(name);
  setOwnHeaders(headers, exchange, server, clock.now(), headers.fields);
  exchange.replied();
  const init = headers.toInit();
  if (upgrade.accept(init, (outcome) => exchange.finish(101, outcome)))
    return new Response(null, { status: 101, headers: init });
  exchange.finish(499, "aborted");
  return new Response(null, { status: 499 });
}
