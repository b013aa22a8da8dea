import { describe, expect, test } from "bun:test";
import { HeaderFields } from "../../src/header-fields.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import type { Connection } from "../../src/upstream/connection.ts";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import { Pool } from "../../src/upstream/pool.ts";
import type { FreeConnections } from "../../src/upstream/pool.ts";
import { sendingOf } from "./sending.ts";
import { fakeConnection } from "./fake-wire.ts";
import { manualClock } from "./manual-clock.ts";
import { plainAnswer } from "./wire-answers.ts";

function setup() {
  const clock = manualClock();
  const pool = new Pool(clock);
  return { clock, pool, place: pool.place() };
}

/** A connection that has carried a request, whose answer has these headers. */
function used(place: FreeConnections, fields: readonly string[] = []): Connection {
  const { connection } = fakeConnection(place);
  void carry(connection, fields);
  return connection;
}

function carry(connection: Connection, fields: readonly string[] = []): Promise<unknown> {
  const answer = connection.send(
    {
      url: "http://a/",
      method: "GET",
      headers: new HeaderFields(),
      body: null,
      controller: new Cancellation(),
    },
    sendingOf(createDeadlines(manualClock(), 20)),
  );
  connection.received(plainAnswer("ok", fields));
  return answer;
}

describe("a free connection", () => {
  test("that was used last goes first, and each goes once", () => {
    const { place, clock } = setup();
    const all = [1, 2, 3].map(() => {
      clock.advance(1);
      return used(place);
    });
    expect([0, 1, 2].map(() => place.take(Infinity))).toEqual(all.toReversed());
    expect(place.take(Infinity)).toBe(null);
  });

  test("is kept for 60 s, and again after each request", () => {
    const { place, clock } = setup();
    const connection = used(place);
    clock.advance(59_999);
    expect(place.take(Infinity)).toBe(connection);
    clock.advance(100_000);
    expect(connection.isOpen).toBe(true);
    void carry(connection);
    clock.advance(59_999);
    expect(connection.isOpen).toBe(true);
    clock.advance(1);
    expect(connection.isOpen).toBe(false);
    expect(place.take(Infinity)).toBe(null);
  });

  test.each([
    [5, 3_999, true],
    [5, 4_000, false],
    [1, 0, false],
    [100, 59_999, true],
  ])("of a server that keeps it for %d s goes after %d ms: %p", (timeout, ms, goes) => {
    const { place, clock } = setup();
    const connection = used(place, [`Keep-Alive: timeout=${timeout}`]);
    clock.advance(ms);
    expect(place.take(Infinity)).toBe(goes ? connection : null);
    expect(connection.isOpen).toBe(goes);
  });

  test("that its server no longer keeps does not hide one that is kept", () => {
    const { place, clock } = setup();
    const kept = used(place);
    const short = used(place, ["Keep-Alive: timeout=2"]);
    clock.advance(1_500);
    expect(place.take(Infinity)).toBe(kept);
    expect(short.isOpen).toBe(false);
  });

  test("that was unused for too long stays for who does not mind", () => {
    const { place, clock } = setup();
    const connection = used(place);
    clock.advance(1_001);
    expect(place.take(1_000)).toBe(null);
    expect(place.take(1_001)).toBe(connection);
  });

  test("that is closed goes no more", () => {
    const { place, clock } = setup();
    const [first, second, third] = [used(place), used(place), used(place)];
    second.closed(null);
    third.received(Buffer.from("H"));
    expect(place.take(Infinity)).toBe(first);
    expect(place.take(Infinity)).toBe(null);
    clock.advance(60_000);
    expect(clock.timers()).toBe(0);
  });

  test("is one of 1,024 to its place at most", () => {
    const { place } = setup();
    const all = Array.from({ length: 1_024 }, () => used(place));
    expect(used(place).isOpen).toBe(false);
    expect(all.every(({ isOpen }) => isOpen)).toBe(true);
  });
});

describe("who waits for a connection", () => {
  /** Waits, and says how each dial ends. */
  function waiting(place: FreeConnections, count: number) {
    const dials = Array.from({ length: count }, () => Promise.withResolvers<Connection>());
    const waiters = dials.map(({ promise }) => place.wait(() => promise));
    const got: unknown[] = dials.map(() => null);
    for (const [i, { promise }] of waiters.entries())
      promise.then(
        (connection) => (got[i] = connection),
        (error: unknown) => (got[i] = error),
      );
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    return { dials, waiters, got, turn };
  }

  test("gets the first that is there, made for it or not, in the order of coming", async () => {
    const { place } = setup();
    const { dials, got, turn } = waiting(place, 3);
    const made = fakeConnection(place).connection;
    dials[2]!.resolve(made);
    await turn();
    expect(got).toEqual([made, null, null]);
    const freed = used(place);
    await turn();
    expect(got[1]).toBe(freed);
    const late = [0, 1].map(() => fakeConnection(place).connection);
    dials[0]!.resolve(late[0]);
    dials[1]!.resolve(late[1]);
    await turn();
    expect(got[2]).toBe(late[0]);
    expect(place.take(Infinity)).toBe(late[1]!);
  });

  test("is told of a failure only where there are no longer enough for all", async () => {
    const { place } = setup();
    const { dials, got, turn } = waiting(place, 2);
    const freed = used(place);
    await turn();
    expect(got).toEqual([freed, null]);
    dials[0]!.reject(new Error("first"));
    await turn();
    expect(got[1]).toBe(null);
    const second = new Error("second");
    dials[1]!.reject(second);
    await turn();
    expect(got[1]).toBe(second);
  });

  test("and waits no longer leaves what was made for it to others", async () => {
    const { place } = setup();
    const { dials, waiters, got, turn } = waiting(place, 2);
    waiters[0]!.leave("gone");
    const made = fakeConnection(place).connection;
    dials[0]!.resolve(made);
    await turn();
    expect(got).toEqual(["gone", made]);
  });
});

test("what is closed keeps nothing, and closes what becomes free", () => {
  const { pool, place, clock } = setup();
  const other = pool.place();
  const [first, second, busy] = [used(place), used(other), used(place)];
  expect(place.take(Infinity)).toBe(busy);
  pool.close();
  expect([first.isOpen, second.isOpen, busy.isOpen]).toEqual([false, false, true]);
  void carry(busy);
  expect(busy.isOpen).toBe(false);
  expect(clock.timers()).toBe(0);
});

test("a place that is forgotten closes its own connections only", () => {
  const { pool, place } = setup();
  const other = pool.place();
  const [first, second] = [used(place), used(other)];
  pool.forget(place);
  expect([first.isOpen, second.isOpen]).toEqual([false, true]);
});
