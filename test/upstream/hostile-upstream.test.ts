import { afterAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import { Connection } from "../../src/upstream/connection.ts";
import type { ConnectionKeeper, Sending, Wire } from "../../src/upstream/connection.ts";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import { fieldsOf, requestHeaders } from "../../src/upstream/headers.ts";
import { createHttpUpstream } from "../../src/upstream/http.ts";
import type { UpstreamRequest } from "../../src/upstream/upstream.ts";
import { bytesOf, textOf } from "./answers.ts";
import { manualClock } from "./manual-clock.ts";
import { rawServer } from "./raw-server.ts";

const upstream = createHttpUpstream({
  clock: systemClock(),
  timeouts: { connectMs: 10_000, firstByteMs: 60_000 },
});
afterAll(() => upstream.close());

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

function call(url: string, more: Partial<UpstreamRequest> = {}): UpstreamRequest {
  const headers = requestHeaders(fieldsOf(new Headers()));
  return { url, method: "GET", headers, body: null, controller: new Cancellation(), ...more };
}

/** What a promise is rejected with; null where it is not. */
function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => null,
    (reason: unknown) => reason,
  );
}

const linger = createDeadlines(systemClock(), 20);
afterAll(() => linger.close());
const sending: Sending = {
  target: { target: "/", host: "x" },
  more: "",
  linger,
  progressed() {},
  sent() {},
};

/** A wire that takes everything, and who keeps its connection. */
function fakeWire(): Wire & ConnectionKeeper & { isPaused: boolean; freed: number; ended: number } {
  return {
    isPaused: false,
    freed: 0,
    ended: 0,
    write: (bytes) => bytes.length,
    pause() {
      this.isPaused = true;
    },
    resume() {
      this.isPaused = false;
    },
    terminate() {},
    free() {
      this.freed++;
    },
    gone() {
      this.ended++;
    },
  };
}

describe("a connection that is kept", () => {
  test("is read again where the answer before came faster than it was taken", async () => {
    const wire = fakeWire();
    const connection = new Connection(wire, wire);
    const answer = connection.send(call("http://x/"), sending);
    connection.received(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n"));
    const slow = await answer;
    connection.received(Buffer.alloc(70_000, "x"));
    expect(wire).toMatchObject({ isPaused: false, freed: 1 });
    expect(await bytesOf(slow)).toHaveLength(70_000);
    expect(wire).toMatchObject({ isPaused: false, freed: 1 });
  });
});

describe("a call that nobody waits for any more", () => {
  test("leaves nothing behind in the middle of TLS for long, though the server says nothing", async () => {
    const clock = manualClock();
    const hasty = createHttpUpstream({ clock, timeouts: { connectMs: 100, firstByteMs: 1_000 } });
    await using server = await rawServer();
    const controller = new Cancellation();
    const answer = hasty.send(call(server.url.replace("http:", "https:"), { controller }));
    const { closed } = await server.received(({ received }) => received.length > 0);
    controller.abort(new Error("gone"));
    expect(await reasonOf(answer)).toHaveProperty("message", "gone");
    clock.advance(100);
    await closed;
    expect(clock.timers()).toBe(0);
    hasty.close();
  });
});
