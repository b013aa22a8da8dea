import { describe, expect, test } from "bun:test";
import fc from "fast-check";

import { SharedBody } from "../../src/cache/shared-body.ts";
import type { BodyReader } from "../../src/cache/shared-body.ts";
import { settlePromises } from "../clock.ts";
import { ManualSource } from "./source.ts";

interface Seen {
  held: number;
  closed: number;
  ended: number;
}

function create(maxBytes: number, maxHeld = Infinity): [SharedBody, ManualSource, Seen] {
  const source = new ManualSource();
  const seen: Seen = { held: 0, closed: 0, ended: 0 };
  const body = new SharedBody(source, maxBytes, {
    held: (bytes) => (seen.held += bytes) <= maxHeld,
    closed: () => void seen.closed++,
    ended: () => void seen.ended++,
  });
  return [body, source, seen];
}

const never = (): void => {
  throw new Error("Broken off");
};

async function text({ next }: BodyReader): Promise<string> {
  let all = "";
  for (let piece = await next(); piece !== null; piece = await next()) {
    all += new TextDecoder().decode(piece);
  }
  return all;
}

test("all readers get all, those who come late too", async () => {
  const [body, source, seen] = create(1_000);
  const first = text(body.reader(never));
  source.send("a", "b");
  await settlePromises();
  const late = text(body.reader(never));
  source.send("c");
  source.end();
  expect(await Promise.all([first, late])).toEqual(["abc", "abc"]);
  expect(seen).toMatchObject({ closed: 1, ended: 1 });
});

test("nothing is read that no reader asks for, and each piece once", async () => {
  const [body, source] = create(1_000);
  const [one, two] = [body.reader(never), body.reader(never)];
  source.send("a", "b", "c");
  await settlePromises();
  expect(source.reads).toBe(0);
  await Promise.all([one.next(), two.next()]);
  await settlePromises();
  expect(source.reads).toBe(1);
  await two.next();
  await two.next();
  expect(source.reads).toBe(3);
  await one.next();
  expect(source.reads).toBe(3);
});

test("a failure comes after what had passed, to all", async () => {
  const [body, source, seen] = create(1_000);
  const [one, two] = [body.reader(never), body.reader(never)];
  source.send("a");
  source.fail(new Error("broken"));
  await one.next();
  expect(one.next()).rejects.toThrow("broken");
  await settlePromises();
  expect(new TextDecoder().decode((await two.next())!)).toBe("a");
  expect(two.next()).rejects.toThrow("broken");
  expect(seen).toMatchObject({ closed: 1, ended: 1 });
});

test("who is far behind is waited for while there is room", async () => {
  const [body, source, seen] = create(1_000, 100_000);
  const [fast, slow] = [body.reader(never), body.reader(never)];
  for (let i = 0; i < 10; i++) source.send(new Uint8Array(400));
  source.end();
  for (let i = 0; i < 11; i++) await fast.next();
  expect(seen.held).toBe(10 * 528);
  expect((await text(slow)).length).toBe(4_000);
  expect(seen.held).toBe(0);
});

test("beyond the bound it is closed, and only what a reader has not had is held", async () => {
  const [body, source, seen] = create(1_000);
  const [one, two] = [body.reader(never), body.reader(never)];
  const piece = new Uint8Array(400);
  source.send(piece, piece);
  await one.next();
  expect(seen.closed).toBe(0);
  await one.next();
  expect(seen.closed).toBe(1);
  expect(seen.held).toBe(2 * 528);
  await two.next();
  expect(seen.held).toBe(528);
  await two.next();
  expect(seen.held).toBe(0);
});

test("it is closed as soon as all together hold too much", async () => {
  const [body, source, seen] = create(1_000_000, 500);
  const one = body.reader(never);
  source.send(new Uint8Array(400));
  await one.next();
  expect(seen).toMatchObject({ closed: 1, held: 0 });
});

test("who is further behind than the bound when room runs out is broken off; the others get all", async () => {
  const [body, source, seen] = create(1_000, 1_500);
  let lost = 0;
  const [fast, slow] = [body.reader(never), body.reader(() => void lost++)];
  for (let i = 0; i < 4; i++) source.send(new Uint8Array(400));
  await slow.next();
  for (let i = 0; i < 3; i++) await fast.next();
  // Behind by two pieces, the newest of which does not count.
  expect(lost).toBe(0);
  await fast.next();
  expect(lost).toBe(1);
  expect(slow.next()).rejects.toThrow("too slowly");
  expect(seen.held).toBe(0);
  source.end();
  expect(await fast.next()).toBeNull();
});

test("one piece larger than the bound harms nobody", async () => {
  const [body, source] = create(1_000);
  const [one, two] = [body.reader(never), body.reader(never)];
  source.send(new Uint8Array(5_000));
  source.end();
  expect((await one.next())!.length).toBe(5_000);
  expect((await two.next())!.length).toBe(5_000);
  expect(await two.next()).toBeNull();
});

test("who leaves gets nothing more, also if it was waiting", async () => {
  const [body, source] = create(1_000);
  const [one, two] = [body.reader(never), body.reader(never)];
  const waiting = one.next();
  one.leave();
  source.send("a");
  expect(waiting).rejects.toThrow("left");
  expect((await two.next())!.length).toBe(1);
});

describe("cancel", () => {
  test("ends the source, and what it still sends is not held", async () => {
    const [body, source, seen] = create(1_000);
    const one = body.reader(never);
    const waiting = one.next().catch(() => "rejected");
    one.leave();
    body.cancel();
    body.cancel();
    source.send("a");
    expect(await waiting).toBe("rejected");
    expect(source.cancelled).toBe(true);
    expect(seen).toEqual({ held: 0, closed: 1, ended: 1 });
  });

  test("after the end does nothing", async () => {
    const [body, source, seen] = create(1_000);
    const one = body.reader(never);
    source.end();
    expect(await one.next()).toBeNull();
    body.cancel();
    expect(source.cancelled).toBe(false);
    expect(seen.ended).toBe(1);
  });
});

test("property: whoever is not broken off gets the same bytes, and what is held stays bounded", async () => {
  const maxBytes = 2_000;
  const largest = 600;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: largest }), { maxLength: 40 }),
      fc.array(fc.record({ reader: fc.nat(4), leave: fc.nat(20) }), { maxLength: 200 }),
      async (sizes, steps) => {
        const [body, source, seen] = create(maxBytes, maxBytes);
        sizes.forEach((size, i) => source.send(new Uint8Array(size).fill(i + 1)));
        source.end();
        const all = Buffer.concat(sizes.map((size, i) => new Uint8Array(size).fill(i + 1)));
        const readers = Array.from({ length: 5 }, () => {
          const state = { gone: false, got: [] as Uint8Array[], ended: false };
          return { state, ...body.reader(() => void (state.gone = true)) };
        });
        for (const { reader, leave } of steps) {
          const { state, ...at } = readers[reader]!;
          if (state.gone || state.ended) continue;
          if (leave === 0) {
            at.leave();
            state.gone = true;
            continue;
          }
          const piece = await at.next();
          if (piece === null) state.ended = true;
          else state.got.push(piece);
          expect(seen.held).toBeLessThanOrEqual(maxBytes + largest + 128);
        }
        for (const { state, next } of readers) {
          while (!state.gone && !state.ended) {
            const piece = await next();
            if (piece === null) state.ended = true;
            else state.got.push(piece);
          }
          const got = Buffer.concat(state.got);
          expect(got.equals(all.subarray(0, got.length))).toBe(true);
          if (state.ended) expect(got.length).toBe(all.length);
        }
        expect(readers.some(({ state }) => state.ended) ? seen.ended : 1).toBe(1);
        for (const { leave } of readers) leave();
        body.cancel();
        expect(seen.held).toBe(0);
      },
    ),
    { numRuns: 200 },
  );
});
