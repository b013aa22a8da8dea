import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ArrivingBody } from "../../src/upstream/arriving-body.ts";

type Piece = Uint8Array<ArrayBuffer>;

const mostWaiting = 64 * 1024;

/** A body, and what it has asked of where it comes from. */
function arriving() {
  const asked: string[] = [];
  const body = new ArrivingBody({
    pause: () => void asked.push("pause"),
    resume: () => void asked.push("resume"),
    cancel: () => void asked.push("cancel"),
  });
  return { body, asked };
}

/** Has all that can go on without more from outside go on. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** How a promise has ended so far: `null` for not yet. */
function outcome(promise: Promise<unknown>): { now: unknown } {
  const seen: { now: unknown } = { now: null };
  promise.then(
    () => (seen.now = "end"),
    (error: unknown) => (seen.now = error),
  );
  return seen;
}

/** A reader that takes one piece after the other. */
async function readAll(body: ArrivingBody, take: (piece: Piece) => unknown): Promise<void> {
  for (let piece = await body.read(); piece !== null; piece = await body.read()) await take(piece);
}

const bytes = (length: number): Piece => new Uint8Array(length);

describe.each([
  ["read", readAll],
  [
    "each",
    (body: ArrivingBody, take: (piece: Piece) => unknown) =>
      body.each((piece) => take(piece) as Promise<void> | undefined),
  ],
])("a body taken by %s", (_, takeAll) => {
  test("gives all pieces in order and then its end, however slowly they come and are taken", async () => {
    const step = fc.constantFrom("push", "push", "turn", "taken", "begin");
    const run = fc.record({
      steps: fc.array(step, { maxLength: 40 }),
      breaks: fc.boolean(),
      waits: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(run, async ({ steps, breaks, waits }) => {
        const { body } = arriving();
        const given: number[] = [];
        let pushed = 0;
        let busy: PromiseWithResolvers<void> | null = null;
        let ended: { now: unknown } | null = null;
        const begin = (): void => {
          ended ??= outcome(
            takeAll(body, (piece) => {
              expect(busy).toBe(null);
              given.push(piece[0]!);
              if (waits[given.length % waits.length] === false) return undefined;
              busy = Promise.withResolvers();
              return busy.promise;
            }),
          );
        };
        const taken = async (): Promise<void> => {
          const { resolve } = busy ?? Promise.withResolvers<void>();
          busy = null;
          resolve();
          await turn();
        };
        for (const what of steps) {
          if (what === "push") body.push(new Uint8Array([pushed++]));
          else if (what === "begin") begin();
          else if (what === "turn") await turn();
          else await taken();
        }
        const error = breaks ? new Error("broken") : null;
        body.end(error);
        body.end(new Error("only the first end counts"));
        body.push(bytes(1));
        begin();
        for (let i = 0; i <= pushed; i++) await taken();
        expect(given).toEqual([...Array(pushed).keys()]);
        const last: unknown = ended;
        expect(last).toEqual({ now: error ?? "end" });
      }),
      { numRuns: 100 },
    );
  });

  test("lets no more than 64 KB wait, and goes on once they are taken", async () => {
    const { body, asked } = arriving();
    body.push(bytes(mostWaiting));
    expect(asked).toEqual([]);
    body.push(bytes(1));
    body.push(bytes(mostWaiting));
    expect(asked).toEqual(["pause"]);
    let taken = 0;
    const ended = outcome(takeAll(body, () => void taken++));
    await turn();
    expect(taken).toBe(3);
    expect(asked).toEqual(["pause", "resume"]);
    body.push(bytes(mostWaiting + 1));
    await turn();
    expect(taken).toBe(4);
    expect(ended.now).toBe(null);
    expect(asked).toEqual(["pause", "resume"]);
    body.end(null);
    await turn();
    expect(ended.now).toBe("end");
  });

  test("does not pause for good where it ends while it waits", async () => {
    const { body, asked } = arriving();
    body.push(bytes(mostWaiting + 1));
    body.end(null);
    expect(asked).toEqual(["pause", "resume"]);
    let taken = 0;
    await takeAll(body, () => void taken++);
    expect(taken).toBe(1);
    expect(asked).toEqual(["pause", "resume"]);
  });

  test("that is cancelled gives nothing more, and says so where it comes from, once", async () => {
    const { body, asked } = arriving();
    let taken = 0;
    body.push(bytes(1));
    body.push(bytes(1));
    const ended = outcome(
      takeAll(body, () => {
        taken++;
        body.cancel();
        body.push(bytes(1));
      }),
    );
    await turn();
    expect(taken).toBe(1);
    expect(ended.now).toBeInstanceOf(Error);
    body.cancel();
    expect(asked).toEqual(["cancel"]);
  });
});

test("a body that is over cannot be cancelled where it comes from", () => {
  for (const error of [null, new Error("broken")]) {
    const { body, asked } = arriving();
    body.push(bytes(1));
    body.end(error);
    body.cancel();
    expect(asked).toEqual([]);
  }
});

test("who waits for a piece is told of the cancellation", async () => {
  const { body } = arriving();
  const read = outcome(body.read());
  body.cancel();
  await turn();
  expect(read.now).toBeInstanceOf(Error);
});

test.each<[string, () => Promise<void>]>([
  ["rejects", () => Promise.reject(new Error("full"))],
  [
    "throws",
    () => {
      throw new Error("full");
    },
  ],
])("a taker that %s is the end, with its reason, now or later", async (_, refuse) => {
  for (const waiting of [0, 3]) {
    const { body, asked } = arriving();
    for (let i = 0; i < waiting; i++) body.push(bytes(1));
    let taken = 0;
    const ended = outcome(
      body.each(() => {
        taken++;
        return refuse();
      }),
    );
    body.push(bytes(1));
    await turn();
    body.push(bytes(1));
    body.end(null);
    await turn();
    expect(taken).toBe(1);
    expect(ended.now).toHaveProperty("message", "full");
    expect(asked).toEqual(["cancel"]);
  }
});

test("a taker that is busy is not told of the end before it is done", async () => {
  const { body } = arriving();
  const busy = Promise.withResolvers<void>();
  const ended = outcome(body.each(() => busy.promise));
  body.push(bytes(1));
  body.end(null);
  await turn();
  expect(ended.now).toBe(null);
  busy.resolve();
  await turn();
  expect(ended.now).toBe("end");
});
