import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Lease } from "../../src/admission/lease.ts";
import type { Path } from "../../src/admission/path.ts";
import type { Priority } from "../../src/queue/lane.ts";
import { priorities } from "../../src/queue/lane.ts";
import { account, leaky, slots, tokens } from "../ledger/costs.ts";
import type { Ask, Fate } from "./desk.ts";
import { Desk, leaseOf, refusalOf } from "./desk.ts";

const mebibyte = 1024 * 1024;

/** Asks `count` times for `client`; they are called `<client>0` and so on. */
function fill(
  desk: Desk,
  path: Path,
  client: string,
  count: number,
  more: Partial<Ask> = {},
): { fate: Fate }[] {
  return Array.from({ length: count }, (_, n) =>
    desk.ask(path, { client, name: `${client}${n}`, ...more }),
  );
}

/** How each ended. */
function states(asked: readonly { fate: Fate }[]): string[] {
  return asked.map(({ fate }) => fate.state);
}

describe("a queue that one client has filled", () => {
  test("takes a newcomer in the place of its newest request, and serves it in its turn", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)], { maxQueueDepth: 4 }));
    desk.take(path);
    const greedy = fill(desk, path, "greedy", 4);
    const newcomer = desk.ask(path, { client: "new", name: "new" });
    await desk.pass();
    expect(states(greedy)).toEqual(["waiting", "waiting", "waiting", "refused"]);
    const refusal = refusalOf(greedy[3] as { fate: Fate });
    expect(refusal.refused).toBe("QUEUE_FULL");
    // Behind the one that went and the four that wait, the newcomer with them, a second each.
    expect(refusal.retryAfterMs).toBeCloseTo(5_000, 1);
    await desk.pass(10_000);
    expect(leaseOf(newcomer).waitedMs).toBeCloseTo(2_000, 1);
    expect(desk.went).toEqual(["greedy0", "new", "greedy1", "greedy2"]);
    expect([...desk.ends.values()]).toEqual([1, 1, 1, 1, 1, 1]);
    expect(desk.scheduler.waiting).toBe(0);
  });

  test("is shared evenly in the end, and then refuses both", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { maxQueueDepth: 9 }));
    desk.take(path);
    const greedy = fill(desk, path, "greedy", 9);
    const other = fill(desk, path, "other", 9);
    const again = fill(desk, path, "greedy", 9);
    await desk.pass();
    expect(states(greedy).filter((state) => state === "waiting")).toHaveLength(5);
    expect(states(other).filter((state) => state === "waiting")).toHaveLength(4);
    expect(states(again).filter((state) => state === "waiting")).toHaveLength(0);
    expect(desk.scheduler.waiting).toBe(9);
  });

  test("by weight", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { maxQueueDepth: 8 }));
    desk.take(path);
    const light = fill(desk, path, "light", 8);
    const heavy = fill(desk, path, "heavy", 8, { weight: 3 });
    await desk.pass();
    expect(states(light).filter((state) => state === "waiting")).toHaveLength(2);
    expect(states(heavy).filter((state) => state === "waiting")).toHaveLength(6);
  });

  test("has a place for a client of any weight", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)], { maxQueueDepth: 3 }));
    desk.take(path);
    const heavy = fill(desk, path, "heavy", 3, { weight: 1_000 });
    const light = fill(desk, path, "light", 3);
    await desk.pass();
    expect(states(heavy)).toEqual(["waiting", "waiting", "refused"]);
    expect(states(light)).toEqual(["waiting", "refused", "refused"]);
    // And keeps it, whoever comes.
    fill(desk, path, "heavy", 3, { weight: 1_000 });
    await desk.pass(3_000);
    expect(desk.went).toContain("light0");
  });

  test("gives up what is least urgent first, and nothing that goes again", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { maxQueueDepth: 5 }));
    desk.take(path);
    const asked = [
      ...fill(desk, path, "greedy", 1, { priority: "low" }),
      ...fill(desk, path, "greedy", 2, { priority: "high" }),
      ...fill(desk, path, "greedy", 2, { again: { deadlineAt: Infinity } }),
    ];
    const fates: string[][] = [];
    for (const client of ["b", "c", "d"]) {
      desk.ask(path, { client });
      await desk.pass();
      fates.push(states(asked));
    }
    expect(fates).toEqual([
      ["refused", "waiting", "waiting", "waiting", "waiting"],
      ["refused", "waiting", "refused", "waiting", "waiting"],
      ["refused", "refused", "refused", "waiting", "waiting"],
    ]);
    expect(refusalOf(desk.ask(path, { client: "e" })).refused).toBe("QUEUE_FULL");
  });

  test("is left as it is for one that has gone already", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { maxQueueDepth: 2 }));
    desk.take(path);
    const greedy = fill(desk, path, "greedy", 2);
    desk.ask(path, { client: "new", signal: AbortSignal.abort(new Error("gone")) });
    await desk.pass();
    expect(states(greedy)).toEqual(["waiting", "waiting"]);
  });

  test("of two full ones each has to have somebody to give way, or nobody does", async () => {
    const desk = new Desk();
    const pace = account("pace", [slots(1)], { maxQueueDepth: 4 });
    const small = account("small", [], { maxQueueDepth: 1 });
    const both = desk.path(pace, small);
    const wide = desk.path(pace);
    desk.take(wide);
    const [own] = fill(desk, both, "new", 1);
    const greedy = fill(desk, wide, "greedy", 3);
    // The pace could be had from the greedy one; the place for the other account is its own already.
    expect(refusalOf(desk.ask(both, { client: "new" })).message).toContain("waiting for small");
    await desk.pass();
    expect(states([...greedy, own as { fate: Fate }])).toEqual(Array(4).fill("waiting"));
  });

  test("of two full ones the same request makes room in both", async () => {
    const desk = new Desk();
    const path = desk.path(
      account("a", [slots(1)], { maxQueueDepth: 3 }),
      account("b", [], { maxQueueDepth: 3 }),
    );
    desk.take(path);
    const greedy = fill(desk, path, "greedy", 3);
    desk.ask(path, { client: "new" });
    await desk.pass();
    expect(states(greedy)).toEqual(["waiting", "waiting", "refused"]);
    expect(desk.scheduler.waiting).toBe(3);
  });
});

describe("the memory for bodies", () => {
  test("is taken from who holds most of it, as much as the newcomer needs, wherever it waits", async () => {
    const desk = new Desk();
    const one = desk.path(account("one", [slots(1)], { group: "one" }));
    const two = desk.path(account("two", [slots(1)], { group: "two" }));
    desk.take(one);
    desk.take(two);
    const bodiless = fill(desk, one, "greedy", 1);
    const greedy = [
      ...fill(desk, one, "greedy", 2, { bodyBytes: 64 * mebibyte }),
      ...fill(desk, two, "greedy", 2, { bodyBytes: 64 * mebibyte }),
    ];
    const small = desk.ask(one, { client: "small", bodyBytes: 10 * mebibyte });
    await desk.pass();
    expect(states(greedy)).toEqual(["waiting", "waiting", "waiting", "refused"]);
    const large = desk.ask(two, { client: "large", bodyBytes: 80 * mebibyte });
    await desk.pass();
    expect(states(greedy)).toEqual(["waiting", "waiting", "refused", "refused"]);
    expect(states([...bodiless, small, large])).toEqual(["waiting", "waiting", "waiting"]);
    expect(desk.scheduler.waitingBytes).toBe(218 * mebibyte);
  });

  test("stays with who would hold less of it than the newcomer", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)]));
    desk.take(path);
    const others = ["b", "c", "d"].map((client) =>
      desk.ask(path, { client, bodyBytes: 80 * mebibyte }),
    );
    const newcomer = desk.ask(path, { client: "new", bodyBytes: 81 * mebibyte });
    expect(refusalOf(newcomer).message).toContain("all the memory");
    await desk.pass();
    expect(states(others)).toEqual(["waiting", "waiting", "waiting"]);
  });
});

/** The clients of the story below, by weight. */
const weights = { a: 1, b: 1, c: 3, d: 0.5 } as const;
type Name = keyof typeof weights;
const depth = 6;

const step = fc.record({
  what: fc.constantFrom("ask", "ask", "ask", "ask", "ask", "again", "served", "leave"),
  client: fc.constantFrom<Name>("a", "a", "a", "b", "c", "d"),
  priority: fc.constantFrom<Priority>("high", "normal", "low"),
  which: fc.nat(1_000),
});

interface Asked {
  readonly asked: { fate: Fate };
  readonly client: Name;
  readonly again: boolean;
  readonly priority: Priority;
  readonly signal: AbortController;
}

test("whatever comes: no place too many, nobody within its share refused while another is over it", async () => {
  const play = async (
    steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
  ) => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { maxQueueDepth: depth }));
    let running: Lease | null = desk.take(path);
    const all: Asked[] = [];
    const waits = (): Asked[] => all.filter(({ asked }) => asked.fate.state === "waiting");
    const held = (of: readonly Asked[], client: Name): number =>
      of.filter((one) => one.client === client).length;
    for (const { what, client, priority, which } of steps) {
      const before = waits();
      if (what === "served") {
        running?.commit(tokens(1));
        running = null;
      } else if (what === "leave") before[which % Math.max(1, before.length)]?.signal.abort();
      else {
        const signal = new AbortController();
        const again = what === "again" && before.filter((one) => one.again).length < 2;
        const asked = desk.ask(path, {
          client,
          priority,
          weight: weights[client],
          signal: signal.signal,
          again: again ? { deadlineAt: Infinity } : null,
        });
        all.push({ asked, client, again, priority, signal });
      }
      await desk.pass();
      for (const one of before) {
        if (one.asked.fate.state === "granted") running ??= one.asked.fate.lease;
      }
      const last = all.at(-1);
      if (last?.asked.fate.state === "granted") running ??= last.asked.fate.lease;
      const after = waits();
      expect(desk.scheduler.waiting).toBe(after.length);
      expect(after.filter(({ again }) => !again).length).toBeLessThanOrEqual(depth);
      if (what !== "ask" && what !== "again") continue;
      const refused = [...before, last as Asked].filter(
        ({ asked }) => asked.fate.state === "refused",
      );
      expect(refused.length).toBeLessThanOrEqual(1);
      const [loser] = refused;
      if (loser === undefined) continue;
      expect(refusalOf(loser.asked).refused).toBe("QUEUE_FULL");
      expect(loser.again).toBe(false);
      expect(before.length).toBeGreaterThanOrEqual(depth);
      const claim = (name: Name): number =>
        (held(before, name) + (name === client ? 1 : 0)) / weights[name];
      // The last one of a client is never taken.
      const movable = new Set(
        before
          .filter(({ again, client: name }) => !again && held(before, name) > 1)
          .map((one) => one.client),
      );
      const most = Math.max(...[...movable].filter((name) => name !== client).map(claim), 0);
      // Who has none gets one; a further one is a question of weights.
      if (held(before, client) === 0) expect(loser.client === client).toBe(movable.size === 0);
      else if (loser.client === client) expect(most).toBeLessThanOrEqual(claim(client) + 1e-6);
      else expect(most).toBeGreaterThan(claim(client));
      if (loser.client !== client) {
        expect(claim(loser.client)).toBe(most);
        // The newest of its least urgent ones.
        const own = before.filter((one) => one.client === loser.client && !one.again);
        const least = Math.max(...own.map((one) => priorities[one.priority]));
        expect(own.filter((one) => priorities[one.priority] === least).at(-1)).toBe(loser);
      }
      // The same in words of shares: those of the places, by the weights of all that want one.
      const present = new Set([...before.map((one) => one.client), client]);
      const total = [...present].reduce((sum, name) => sum + weights[name], 0);
      const isOver = (name: Name): boolean => claim(name) > depth / total + 1e-6;
      if (loser.client === client && !isOver(client)) {
        expect([...movable].filter((name) => name !== client && isOver(name))).toEqual([]);
      }
    }
    expect([...desk.ends.values()].every((times) => times === 1)).toBe(true);
    for (const { signal } of waits()) signal.abort();
    await desk.pass();
    expect([...desk.ends.keys()].filter((name) => name.startsWith("#"))).toHaveLength(all.length);
    expect(desk.scheduler.waiting).toBe(0);
  };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 120, size: "max" }), play),
    { numRuns: 60, endOnFailure: true },
  );
});
