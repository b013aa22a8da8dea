import { describe, expect, test } from "bun:test";

import { createCoalescer } from "../../src/cache/coalescer.ts";
import type { Coalescer, Flight, Follower, Place } from "../../src/cache/coalescer.ts";
import { cacheKey } from "../../src/cache/key.ts";
import type { AnswerHead, Body } from "../../src/cache/stored.ts";
import { ProxyError } from "../../src/errors.ts";
import { settlePromises } from "../clock.ts";
import { ManualSource } from "./source.ts";

function head(fields: Record<string, string> = {}, status = 200): AnswerHead {
  return { status, statusText: "", headers: new Headers({ "content-type": "a/b", ...fields }) };
}

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const text = (body: Body): Promise<string> => new Response(body).text();
const textOf = async ({ answer }: Follower): Promise<string> => text((await answer)!.body);

function lead(coalescer: Coalescer, key = "k", named = true): Flight {
  return flightOf(coalescer.join(key, named));
}

function flightOf(place: Place): Flight {
  if (place.role !== "leader") throw new Error("Somebody leads already.");
  return place.flight;
}

function follow(coalescer: Coalescer, key = "k"): Follower {
  const place = coalescer.join(key, true);
  if (place.role !== "follower") throw new Error("There is nobody to follow.");
  return place.seat;
}

test("50 at once: one call, 50 identical answers", async () => {
  const coalescer = createCoalescer();
  const places = Array.from({ length: 50 }, () => coalescer.join("k", true));
  expect(places.filter(({ role }) => role === "leader")).toHaveLength(1);
  const flight = flightOf(places[0]!);
  const source = new ManualSource();
  const own = text(flight.open(head({ "x-request-id": "up" }), source));
  const answers = places.flatMap((place) => (place.role === "follower" ? [place.seat] : []));
  const texts = answers.map(textOf);
  source.send("one ", "two ");
  await settlePromises();
  source.send("three");
  source.end();
  expect(await own).toBe("one two three");
  expect(await Promise.all(answers.map(({ ended }) => ended))).toEqual(
    answers.map(() => "complete"),
  );
  expect(new Set(await Promise.all(texts))).toEqual(new Set(["one two three"]));
  expect(source.reads).toBe(4);
  expect(coalescer.stats()).toEqual({ flights: 0, bytes: 0 });
});

test("a whole answer is given to all as it is", async () => {
  const coalescer = createCoalescer();
  const flight = lead(coalescer);
  const followers = [follow(coalescer), follow(coalescer)];
  const whole = bytes("{}");
  expect(flight.open(head({}, 503), whole)).toBe(whole);
  for (const { answer } of followers)
    expect(await answer).toMatchObject({ status: 503, body: whole });
  expect(await followers[0]!.ended).toBe("complete");
  expect(coalescer.stats().flights).toBe(0);
});

test("each follower gets headers of its own, without what is the leader's", async () => {
  const coalescer = createCoalescer();
  const flight = lead(coalescer);
  const followers = [follow(coalescer), follow(coalescer)];
  flight.open(head({ "x-up": "1", "set-cookie": "__cf_bm=1", "x-ratelimit-remaining": "3" }), null);
  const [one, two] = await Promise.all(followers.map(({ answer }) => answer));
  one!.headers.set("x-cooldown-request-id", "one");
  expect(two!.headers.toJSON() as object).toEqual({ "content-type": "a/b", "x-up": "1" });
});

test("who joins late gets what has passed, then follows", async () => {
  const coalescer = createCoalescer();
  const flight = lead(coalescer);
  const source = new ManualSource();
  const own = text(flight.open(head(), source));
  source.send("early ");
  await settlePromises();
  const late = textOf(follow(coalescer));
  source.send("later");
  source.end();
  expect(await late).toBe("early later");
  expect(await own).toBe("early later");
});

test("what has grown past the bound is not joined: the next one leads anew", async () => {
  const coalescer = createCoalescer({ flight: 1_000, together: 10_000 });
  const flight = lead(coalescer);
  const source = new ManualSource();
  const own = text(flight.open(head(), source));
  source.send(bytes("x".repeat(1_000)));
  await settlePromises();
  const other = lead(coalescer);
  expect(other).not.toBe(flight);
  source.send("y");
  source.end();
  expect((await own).length).toBe(1_001);
  // Its end leaves the other's place alone.
  expect(coalescer.join("k", true).role).toBe("follower");
});

test("when all together hold too much, the one that grows is not joined any more", async () => {
  const coalescer = createCoalescer({ flight: 1_000, together: 1_500 });
  const sources = ["a", "b"].map((key) => {
    const source = new ManualSource();
    void text(lead(coalescer, key).open(head(), source));
    source.send(bytes("x".repeat(800)));
    return source;
  });
  await settlePromises();
  expect(coalescer.join("a", true).role).toBe("follower");
  expect(coalescer.join("b", true).role).toBe("leader");
  sources.forEach((source) => source.end());
});

test("after the end the next one leads", async () => {
  const coalescer = createCoalescer();
  const flight = lead(coalescer);
  flight.open(head(), bytes("{}"));
  expect(coalescer.join("k", true).role).toBe("leader");
});

describe("leaving", () => {
  test("one that leaves ends it for nobody else, be it the leader", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const [one, two] = [follow(coalescer), follow(coalescer)];
    flight.leave();
    one.leave();
    expect(one.answer).rejects.toThrow("gone");
    expect(await one.ended).toBe("left");
    expect(flight.signal.aborted).toBe(false);
    const source = new ManualSource();
    expect(flight.open(head(), source)).toBeNull();
    const got = textOf(two);
    source.send("all");
    source.end();
    expect(await got).toBe("all");
    expect(flight.signal.aborted).toBe(false);
  });

  test("the leader in the middle of the stream", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const follower = follow(coalescer);
    const source = new ManualSource();
    const own = (flight.open(head(), source) as ReadableStream<Uint8Array>).getReader();
    const got = textOf(follower);
    source.send("a");
    await own.read();
    await own.cancel();
    source.send("b");
    source.end();
    expect(await got).toBe("ab");
  });

  test("all before the answer: the call is aborted, and the next one leads", () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const follower = follow(coalescer);
    follower.leave();
    const reason = new Error("left");
    flight.leave(reason);
    flight.leave();
    expect(flight.signal.reason).toBe(reason);
    expect(coalescer.join("k", true).role).toBe("leader");
    const source = new ManualSource();
    expect(flight.open(head(), source)).toBeNull();
    expect(source.cancelled).toBe(true);
  });

  test("all in the middle of the stream: the source is cancelled, nothing stays held", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const follower = follow(coalescer);
    const source = new ManualSource();
    const own = text(flight.open(head(), source)).catch(() => "broken off");
    const got = textOf(follower).catch(() => "broken off");
    source.send("a");
    await settlePromises();
    flight.leave();
    expect(source.cancelled).toBe(false);
    follower.leave();
    expect(source.cancelled).toBe(true);
    expect(flight.signal.aborted).toBe(true);
    source.fail(new Error("aborted"));
    expect(await Promise.all([own, got])).toEqual(["broken off", "broken off"]);
    expect(coalescer.stats()).toEqual({ flights: 0, bytes: 0 });
  });

  test("after the end aborts nothing", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const source = new ManualSource();
    const own = text(flight.open(head(), source));
    source.end();
    expect(await own).toBe("");
    flight.leave();
    expect(flight.signal.aborted).toBe(false);
    expect(source.cancelled).toBe(false);
  });
});

describe("failure", () => {
  test("a refusal before the answer goes to all", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const followers = [follow(coalescer), follow(coalescer)];
    const refusal = new ProxyError("QUEUE_TIMEOUT", "The queue is long.", 5_000);
    flight.fail(refusal);
    for (const { answer, ended } of followers) {
      expect(answer).rejects.toBe(refusal);
      expect(await ended).toBe("failed");
    }
    expect(coalescer.join("k", true).role).toBe("leader");
    followers[0]!.leave();
    expect(flight.signal.aborted).toBe(false);
  });

  test("one in the middle breaks off all, each after what it had", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const follower = follow(coalescer);
    const source = new ManualSource();
    const streams = [flight.open(head(), source), (await follower.answer)!.body];
    const ends = streams.map((body) => text(body).catch((error: Error) => error.message));
    source.send("a");
    source.fail(new Error("cut off"));
    expect(await Promise.all(ends)).toEqual(["cut off", "cut off"]);
    expect(await follower.ended).toBe("failed");
    flight.fail(new Error("again"));
    expect(coalescer.stats()).toEqual({ flights: 0, bytes: 0 });
  });
});

describe("what may not be shared", () => {
  test.each([
    [{ "set-cookie": "session=1" }, true],
    [{ "cache-control": "no-store" }, true],
    [{ vary: "*" }, true],
    [{ "cache-control": "private" }, false],
    [{ "content-length": String(9 * 1024 * 1024) }, true],
  ])("%j: the leader has it, the others ask themselves", async (fields, named) => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer, "k", named);
    const follower = follow(coalescer);
    const source = new ManualSource();
    const own = text(flight.open(head(fields), source));
    expect(await follower.answer).toBeNull();
    expect(coalescer.join("k", true).role).toBe("leader");
    source.send("a");
    source.end();
    expect(await own).toBe("a");
    expect(flight.signal.aborted).toBe(false);
  });

  test("the leader can still leave it, which ends the call", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const source = new ManualSource();
    void text(flight.open(head({ "set-cookie": "a=1" }), source)).catch(() => {});
    await settlePromises();
    flight.leave();
    expect(source.cancelled).toBe(true);
  });

  test("if the leader has left, nobody wants it", async () => {
    const coalescer = createCoalescer();
    const flight = lead(coalescer);
    const follower = follow(coalescer);
    flight.leave();
    const source = new ManualSource();
    flight.open(head({ "set-cookie": "a=1" }), source);
    expect(await follower.answer).toBeNull();
    expect(source.cancelled).toBe(true);
    expect(flight.signal.aborted).toBe(true);
  });
});

test("other credentials never join", () => {
  const coalescer = createCoalescer();
  const keyOf = (authorization: string): string =>
    cacheKey({ method: "GET", host: "a", target: "/", fields: { authorization }, body: null });
  expect(coalescer.join(keyOf("Bearer one"), true).role).toBe("leader");
  expect(coalescer.join(keyOf("Bearer two"), true).role).toBe("leader");
  expect(coalescer.join(keyOf("Bearer one"), true).role).toBe("follower");
});

test("over real connections: a follower that does not read is cut off, the others get all", async () => {
  const coalescer = createCoalescer({ flight: 1_000_000, together: 4_000_000 });
  const flight = lead(coalescer);
  const source = new ManualSource();
  const own = flight.open(head(), source);
  const slow = (await follow(coalescer).answer)!.body;
  const asked = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  const broken = Promise.withResolvers<void>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    development: false,
    port: 0,
    fetch({ url }) {
      const isSlow = url.endsWith("/slow");
      asked[isSlow ? 1 : 0].resolve();
      return new Response(isSlow ? slow : own);
    },
    error: () => undefined,
  });
  try {
    const got = fetch(new URL("/own", server.url)).then((response) => response.bytes());
    await asked[0].promise;
    // It takes in what the system buffers for it, and not a byte more.
    const stuck = await Bun.connect({
      hostname: "127.0.0.1",
      port: server.port!,
      socket: {
        data: (socket) => socket.pause(),
        close: () => broken.resolve(),
        error: () => broken.resolve(),
      },
    });
    stuck.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    await asked[1].promise;
    const piece = new Uint8Array(64 * 1024).fill(1);
    const pieces = 320;
    for (let i = 0; i < pieces; i++) source.send(piece);
    source.end();
    expect((await got).length).toBe(pieces * piece.length);
    stuck.resume();
    await broken.promise;
    expect(coalescer.stats()).toEqual({ flights: 0, bytes: 0 });
  } finally {
    await server.stop(true);
  }
});
