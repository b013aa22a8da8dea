import { expect, test } from "bun:test";
import { Duplex } from "node:stream";
import { Backlog } from "../../src/server/tunnel-backlog.ts";
import { relayTunnel } from "../../src/server/tunnel-relay.ts";
import { FakeClock } from "../clock.ts";

/** One end of a tunnel that sends what a test pushes, and takes what it is sent when the test says so. */
function end(): { side: Duplex; got: string[]; take(): void } {
  const got: string[] = [];
  let taken: (() => void) | null = null;
  const side = new Duplex({
    readableHighWaterMark: 0,
    autoDestroy: false,
    read() {},
    write(piece: Buffer, _, done) {
      got.push(piece.toString());
      taken = done;
    },
  });
  return {
    side,
    got,
    take() {
      const done = taken;
      taken = null;
      done?.();
    },
  };
}

test.each([
  [true, "closed", ["first", "second"]],
  [false, "broken", ["first"]],
] as const)(
  "what came before a connection closed is passed on when it had ended (%p): %p",
  async (hasEnded, how, got) => {
    const clock = new FakeClock();
    const backlog = new Backlog(clock);
    const client = end();
    const upstream = end();
    const stopping = new AbortController().signal;
    const over = relayTunnel(client.side, upstream.side, {
      clock,
      idleMs: 1_000,
      backlog,
      stopping,
    });
    const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
    client.side.push("first");
    await settled();
    // The upstream does not take it, so the client is not read.
    client.side.push("second");
    if (hasEnded) client.side.push(null);
    upstream.side.push(null);
    await settled();
    client.side.destroy();
    await settled();
    upstream.take();
    await settled();
    upstream.take();
    await settled();
    upstream.side.destroy();
    expect(await over).toEqual({ how, up: got.join("").length, down: 0 });
    expect(upstream.got).toEqual([...got]);
    expect(upstream.side.writableFinished).toBe(hasEnded);
  },
);
