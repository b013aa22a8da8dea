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

/** What passes the WebSocket on that `request` asks for. */
export function createUpgrade(
  request: Request,
  server: Bun.Server<WebSocketRelay>,
  { clock, config, proxy, authorities }: Runtime,
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
          if (isOpen) onEnd(outcome);
        },
      });
      // `open` is called within, and may even find that all is over.
      isOpen = server.upgrade(request, { headers, data: relay });
      if (!isOpen) relay.abandon();
      else if (outcome !== null) onEnd(outcome);
      return isOpen;
    },
  };
}
