import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import {
  clientFrame,
  closePayload,
  FrameError,
  FrameReader,
  longestMessage,
} from "../upstream/frames.ts";
import type { FrameKind, FrameSink } from "../upstream/frames.ts";

/** How a WebSocket came to its end. */
export type WebSocketEnd = "closed" | "broken_off" | "idle" | "too_slow" | "invalid" | "shutdown";

export interface RelayOptions {
  clock: Clock;
  /** How long there may be no traffic in either direction, ms. */
  idleMs: number;
  /** How long a side may not take what is sent to it, ms. */
  writeMs: number;
  /** Called once, when both sides are closed. */
  onEnd(end: WebSocketEnd): void;
}

/** The client's side, as much of the runtime's `ServerWebSocket` as is used. */
export type ClientSocket = Pick<
  Bun.ServerWebSocket<WebSocketRelay>,
  "sendText" | "sendBinary" | "ping" | "pong" | "close" | "terminate"
>;

/** Most that waits to be taken by an upstream: the runtime cannot let a client wait, so more ends the connection. */
const mostWaiting = longestMessage;
/** How long a side has to answer a close, ms. */
const closeMs = 5_000;

/**
 * One WebSocket, passed on message by message: kinds, pings, pongs and close codes as they come. Made before the
 * client's side is there; `open` joins them.
 */
export class WebSocketRelay implements FrameSink {
  readonly #upstream: Duplex;
  readonly #options: RelayOptions;
  readonly #reader = new FrameReader(this);
  #client: ClientSocket | null = null;
  #end: WebSocketEnd | null = null;
  #isClientOpen = true;
  #isUpstreamOpen = true;
  /** Pings of the client's that the upstream has not answered: the runtime has answered them already. */
  #ownPongs = 0;
  #lastTrafficAt: number;
  #stopIdle: () => void;
  #stopClientWait: (() => void) | null = null;
  #stopUpstreamWait: (() => void) | null = null;
  #stopClosing: (() => void) | null = null;
  #isSettled = false;

  constructor(upstream: Duplex, options: RelayOptions) {
    this.#upstream = upstream;
    this.#options = options;
    this.#lastTrafficAt = options.clock.now();
    this.#stopIdle = options.clock.at(this.#lastTrafficAt + options.idleMs, () =>
      this.#checkIdle(),
    );
    upstream.once("close", () => this.#upstreamGone());
    upstream.once("end", () => this.#upstreamGone());
    upstream.on("drain", () => {
      this.#stopUpstreamWait?.();
      this.#stopUpstreamWait = null;
    });
  }

  // The client's side, called by the server.

  open(client: ClientSocket): void {
    this.#client = client;
    if (!this.#isUpstreamOpen) return client.terminate();
    this.#upstream.on("data", (piece: Buffer) => this.#receive(piece));
    this.#upstream.resume();
  }

  message(message: string | Uint8Array): void {
    if (typeof message === "string") this.#send("text", Buffer.from(message));
    else this.#send("binary", message);
  }

  clientPing(payload: Uint8Array): void {
    this.#ownPongs++;
    this.#send("ping", payload);
  }

  clientPong(payload: Uint8Array): void {
    this.#send("pong", payload);
  }

  /** Tells both sides that this server stops. */
  goAway(): void {
    const reason = "The proxy stops.";
    this.#closeUpstream(1_001, reason, "shutdown");
    this.#closeClient(1_001, reason);
  }

  /** The client takes data again. */
  drain(): void {
    if (this.#stopClientWait === null) return;
    this.#stopClientWait();
    this.#stopClientWait = null;
    this.#upstream.resume();
  }

  clientClosed(code: number, reason: string): void {
    this.#isClientOpen = false;
    this.#stopClientWait?.();
    this.#stopClientWait = null;
    // 1006: it went without a word, and so it is for the upstream.
    if (code === 1_006) this.#finish("broken_off");
    else this.#closeUpstream(code, reason, "closed");
  }

  // The upstream's side, called by the reader of its frames.

  text(message: string): void {
    this.#taken(this.#client?.sendText(message) ?? 0);
  }

  binary(message: Uint8Array): void {
    this.#taken(this.#client?.sendBinary(message) ?? 0);
  }

  ping(payload: Uint8Array): void {
    this.#client?.ping(payload);
  }

  pong(payload: Uint8Array): void {
    if (this.#ownPongs > 0) this.#ownPongs--;
    else this.#client?.pong(payload);
  }

  close(code: number | null, reason: string): void {
    this.#closeUpstream(code, reason, "closed");
    this.#closeClient(code, reason);
  }

  #receive(piece: Buffer): void {
    this.#lastTrafficAt = this.#options.clock.now();
    try {
      this.#reader.push(piece);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#closeUpstream(error.code, error.message, "invalid");
      this.#closeClient(error.code, `The upstream sent what is no WebSocket: ${error.message}`);
    }
  }

  #send(kind: FrameKind, payload: Uint8Array): void {
    if (!this.#isUpstreamOpen || this.#end !== null) return;
    this.#lastTrafficAt = this.#options.clock.now();
    if (this.#upstream.write(clientFrame(kind, payload))) return;
    if (this.#upstream.writableLength > mostWaiting) return this.#giveUp();
    const { clock, writeMs } = this.#options;
    this.#stopUpstreamWait ??= clock.at(clock.now() + writeMs, () => this.#giveUp());
  }

  /** @param sent what the runtime says of a message: -1 where it waits for the client */
  #taken(sent: number): void {
    if (sent >= 0 || this.#stopClientWait !== null) return;
    this.#upstream.pause();
    const { clock, writeMs } = this.#options;
    this.#stopClientWait = clock.at(clock.now() + writeMs, () => this.#finish("too_slow"));
  }

  /** The upstream does not take what the client sends. 1013: try again later. */
  #giveUp(): void {
    this.#closeClient(1_013, "The upstream does not take what is sent to it.");
    this.#finish("too_slow", { keepClient: true });
  }

  #checkIdle(): void {
    const { clock, idleMs } = this.#options;
    const idleAt = this.#lastTrafficAt + idleMs;
    if (clock.now() < idleAt) {
      this.#stopIdle = clock.at(idleAt, () => this.#checkIdle());
      return;
    }
    const reason = `No traffic for ${idleMs / 1_000} s (server.idle_timeout).`;
    this.#closeUpstream(1_001, reason, "idle");
    this.#closeClient(1_001, reason);
  }

  #closeClient(code: number | null, reason: string): void {
    if (!this.#isClientOpen) return;
    if (closePayload(code, reason).length === 0) this.#client?.close();
    else this.#client?.close(code ?? 1_000, reason);
    this.#expectEnd();
  }

  /** Says that it is over, and waits a little for the other side to say so too. */
  #closeUpstream(code: number | null, reason: string, end: WebSocketEnd): void {
    if (this.#end !== null) return this.#settle();
    this.#end = end;
    if (this.#isUpstreamOpen) this.#upstream.end(clientFrame("close", closePayload(code, reason)));
    // What it still sends is read, or its end would not be seen.
    this.#upstream.resume();
    this.#expectEnd();
    this.#settle();
  }

  #upstreamGone(): void {
    this.#isUpstreamOpen = false;
    this.#upstream.destroy();
    if (this.#end !== null) return this.#settle();
    // It broke off, which a close frame would make look orderly.
    this.#finish("broken_off");
  }

  #expectEnd(): void {
    const { clock } = this.#options;
    this.#stopClosing ??= clock.at(clock.now() + closeMs, () => this.#finish("closed"));
  }

  /** Ends both sides now. */
  #finish(end: WebSocketEnd, { keepClient = false } = {}): void {
    this.#end ??= end;
    this.#isUpstreamOpen = false;
    this.#upstream.destroy();
    if (this.#isClientOpen && !keepClient) this.#client?.terminate();
    this.#settle();
  }

  /** Tells of the end as soon as both sides have come to it. */
  #settle(): void {
    if (this.#isClientOpen || this.#isUpstreamOpen || this.#isSettled) return;
    this.#isSettled = true;
    this.#stopIdle();
    this.#stopClientWait?.();
    this.#stopUpstreamWait?.();
    this.#stopClosing?.();
    this.#options.onEnd(this.#end ?? "closed");
  }

  /** The client's side could not be opened. */
  abandon(): void {
    this.#isClientOpen = false;
    this.#finish("broken_off");
  }
}
