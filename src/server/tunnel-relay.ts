import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import type { Backlog } from "./tunnel-backlog.ts";

/** One end of a tunnel: a socket, with TLS or without, that stays writable when its other side has finished. */
export type End = Duplex;

/** How a tunnel ended. */
export interface RelayEnd {
  /**
   * `closed`: both sides finished. `idle`: neither sent anything for the time set. `broken`: one side broke off.
   * `shutdown`: the program stops, and there was nothing more to wait for.
   */
  how: "closed" | "idle" | "broken" | "shutdown";
  /** Bytes from the client, and to it. */
  up: number;
  down: number;
}

export interface RelayOptions {
  clock: Clock;
  /** The tunnel is closed when for so long neither side has sent or taken anything, ms. */
  idleMs: number;
  /** Shared by all tunnels. */
  backlog: Backlog;
  /** Aborted when the program stops. */
  stopping: AbortSignal;
}

/** How long nothing may move in a tunnel when the program stops, ms: whether it is in use cannot be seen. */
const quietMs = 5_000;

/**
 * Passes bytes both ways between `client` and `upstream` until both have finished, never reading faster than the
 * other side takes them: what is held is what fits into the buffers of two sockets. One that finishes is told on
 * (half-close), and may go on receiving.
 */
export function relayTunnel(
  client: End,
  upstream: End,
  { clock, idleMs, backlog, stopping }: RelayOptions,
): Promise<RelayEnd> {
  return new Promise((resolve) => {
    let lastAt = clock.now();
    let how: RelayEnd["how"] = "closed";
    let open = 2;
    const up = { bytes: 0 };
    const down = { bytes: 0 };

    const finish = (why: "idle" | "shutdown"): void => {
      if (how === "closed") how = why;
      client.destroy();
      upstream.destroy();
    };
    const broke = (side: End, other: End, hasEnded: boolean): void => {
      if (how === "closed") how = "broken";
      side.destroy();
      if (!hasEnded) return breakOff(other);
      if (other.writableFinished) return void other.destroy();
      // All that it had to say has been read, and the other side gets it. Only the way back has broken.
      other.resume();
      other.once("finish", () => other.destroy());
    };
    const closed = (side: End, other: End, count: { bytes: number }): void => {
      const hasEnded = other.writableEnded || passRest(side, other, count);
      if (!hasEnded || !side.writableFinished) broke(side, other, hasEnded);
      if (--open > 0) return;
      stopTimer();
      stopping.removeEventListener("abort", recheck);
      resolve({ how, up: up.bytes, down: down.bytes });
    };
    const moved = (): void => void (lastAt = clock.now());
    const mostMs = (): number => (stopping.aborted ? Math.min(quietMs, idleMs) : idleMs);
    const check = (): void => {
      if (clock.now() - lastAt < mostMs()) stopTimer = clock.at(lastAt + mostMs(), check);
      else finish(stopping.aborted ? "shutdown" : "idle");
    };
    const recheck = (): void => {
      stopTimer();
      check();
    };
    let stopTimer = clock.at(lastAt + mostMs(), check);
    stopping.addEventListener("abort", recheck, { once: true });

    pass(client, upstream, { count: up, moved, backlog, afterEnd: setImmediate });
    pass(upstream, client, { count: down, moved, backlog, afterEnd: (run) => run() });
    for (const [side, other, count] of [
      [client, upstream, up],
      [upstream, client, down],
    ] as const) {
      // What follows an error is the close.
      side.on("error", () => {});
      if (side.closed) closed(side, other, count);
      else side.once("close", () => closed(side, other, count));
    }
  });
}

/**
 * Ends a connection so that its other end sees it has broken (RST), and does not take what it got for all there is.
 * What was sent and not taken yet may be lost.
 */
export function breakOff(side: End): void {
  if (side instanceof Socket) side.resetAndDestroy();
  else side.destroy();
}

/**
 * Passes on what a side had sent before it closed, where it was not its turn to be read: once both directions have
 * ended the runtime closes a connection, whatever of it is unread.
 * @returns false where it had not ended, or had not in order: then that is not all
 */
function passRest(side: End, other: End, count: { bytes: number }): boolean {
  const state: unknown = Reflect.get(side, "_readableState");
  const hasEnded =
    typeof state === "object" && state !== null && "ended" in state && state.ended === true;
  // Where only it has, it was reset: the connections of `node:http` tell of that as of an end.
  if (!hasEnded || !side.writableFinished || side.errored !== null) return false;
  const rest: unknown = side.readableLength > 0 ? side.read() : null;
  if (rest instanceof Uint8Array) {
    count.bytes += rest.length;
    other.write(rest);
  }
  other.end();
  return true;
}

interface PassOptions {
  count: { bytes: number };
  moved: () => void;
  backlog: Backlog;
  /**
   * Passes its end on: for a connection of `node:http`, once it is clear that it was not reset, which is told as an
   * end, too, with the close right after it.
   */
  afterEnd: (pass: () => void) => void;
}

/** One direction. */
function pass(from: End, to: End, { count, moved, backlog, afterEnd }: PassOptions): void {
  const read = (): void => void from.resume();
  from.on("data", (piece: Buffer) => {
    const { length } = piece;
    moved();
    count.bytes += length;
    backlog.hold(length);
    to.write(piece, () => {
      moved();
      free(piece);
      backlog.release(length);
      if (from.isPaused() && to.writableLength === 0) backlog.next(read);
    });
    if (to.writableLength > 0 || !backlog.hasRoom) stop(from);
    if (from.isPaused() && to.writableLength === 0) backlog.next(read);
  });
  from.once("end", () => {
    moved();
    afterEnd(() => {
      if (!from.closed) to.end();
    });
  });
  stop(from);
  backlog.next(read);
}

/** Stops reading at once: the runtime's own `pause` of a connection that was dialled lets one more piece in. */
function stop(side: End): void {
  side.pause();
  const handle: unknown = Reflect.get(side, "_handle");
  if (typeof handle === "object" && handle !== null && "pause" in handle) {
    if (typeof handle.pause === "function") handle.pause();
  }
}

/** Pieces that are smaller are not worth it, bytes. */
const worthFreeing = 64 * 1024;

/**
 * Gives the memory of a piece back that nobody needs any more. The collector would, but hundreds of megabytes later:
 * it goes by what JavaScript itself takes.
 */
function free({ buffer, byteLength }: Buffer): void {
  const isWhole = byteLength === buffer.byteLength && byteLength >= worthFreeing;
  if (isWhole && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
