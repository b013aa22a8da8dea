import type { Upgrade } from "../proxy/upgrade.ts";
import type { Runtime } from "../runtime.ts";
import { longestMessage } from "../upstream/frames.ts";
import { openWebSocket } from "./websocket-open.ts";
import type { Opened } from "./websocket-open.ts";
import { WebSocketRelay } from "./websocket.ts";

/** How the server treats WebSockets: idle ones are seen to by the relay, and pings are passed on, not made up. */
export const webSocketHandler: Bun.WebSocketHandler<WebSocketRelay> = {
  idleTimeout: 0,
  sendPings: false,
  perMessageDeflate: false,
  maxPayloadLength: longestMessage,
  // Never reached: the upstream is not read on while its client does not keep up.
  backpressureLimit: 4 * longestMessage,
  open: (client) => client.data.open(client),
  message: ({ data: relay }, message) => relay.message(message),
  ping: ({ data: relay }, payload) => relay.clientPing(payload),
  pong: ({ data: relay }, payload) => relay.clientPong(payload),
  drain: ({ data: relay }) => relay.drain(),
  close: ({ data: relay }, code, reason) => relay.clientClosed(code, reason),
};

/** The WebSockets that are open. */
export class OpenWebSockets {
  readonly #relays = new Set<WebSocketRelay>();
  #isStopping = false;

  add(relay: WebSocketRelay): void {
    this.#relays.add(relay);
    if (this.#isStopping) relay.goAway();
  }

  delete(relay: WebSocketRelay): void {
    this.#relays.delete(relay);
  }

  /** Tells all of them, and those that are still to come, that the server stops: nobody can wait for their ends. */
  goAway(): void {
    this.#isStopping = true;
    for (const relay of this.#relays) relay.goAway();
  }
}

/**
 * What passes the WebSocket on that `request` asks for.
 * @param all the WebSockets of this server, of which it becomes one
 */
export function createUpgrade(
  request: Request,
  server: Bun.Server<WebSocketRelay>,
  { clock, config, proxy, authorities }: Runtime,
  all: OpenWebSockets,
): Upgrade {
  let socket: Opened["socket"] = null;
  return {
    async send(outgoing) {
      const { connect: connectMs, first_byte: firstByteMs } = config.upstream_timeouts;
      const timeouts = { connectMs, firstByteMs };
      const opened = await openWebSocket(outgoing, { clock, ...timeouts, proxy, authorities });
      ({ socket } = opened);
      return opened.answer;
    },
    accept(headers, onEnd) {
      if (socket === null) return false;
      let isOpen = false;
      let outcome: string | null = null;
      const { idle_timeout: idleMs, write_timeout: writeMs } = config.server;
      const relay = new WebSocketRelay(socket, {
        clock,
        idleMs,
        writeMs,
        onEnd: (end) => {
          outcome = end === "closed" ? "ok" : `websocket_${end}`;
          all.delete(relay);
          if (isOpen) onEnd(outcome);
        },
      });
      // `open` is called within, and may even find that all is over.
      isOpen = server.upgrade(request, { headers, data: relay });
      if (!isOpen) relay.abandon();
      else if (outcome === null) all.add(relay);
      else onEnd(outcome);
      return isOpen;
    },
  };
}
