import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Waiting } from "../../src/queue/lane.ts";
import { Line } from "../../src/queue/line.ts";
import { fromTheBack, Places } from "../../src/queue/places.ts";
import { Shares } from "../../src/queue/shares.ts";
import type { Draft } from "./waiting.ts";
import { waiting } from "./waiting.ts";

function filled(...drafts: readonly Omit<Draft, "seq">[]): Places {
  return filledIn(new Places(), ...drafts);
}

function filledIn(places: Places, ...drafts: readonly Omit<Draft, "seq">[]): Places {
  drafts.forEach((draft, seq) => places.add(waiting({ seq, ...draft }), 1));
  return places;
}

describe("who gives way", () => {
  const a = { client: "a" };
  const b = { client: "b" };
  test.each([
    ["nobody where nobody waits", [], "new", 1, null],
    ["the one that holds all", [a, a], "new", 1, "a"],
    ["not one's own client", [a, a], "a", 1, null],
    ["not who would then hold less than the newcomer", [a], "new", 1, null],
    ["not who holds one more: the two would go on changing places", [a, a, b], "b", 1, null],
    ["who holds two more", [a, a, a, b], "b", 1, "a"],
    ["not who holds more by its weight", [a, b, b, b].map(heavy), "a", 1, null],
    ["who holds more than its weight is worth", [a, a, b, b].map(heavy), "b", 3, "a"],
    ["not a request that goes again", [a, a, a].map(goesAgain), "new", 1, null],
    ["who has another beside those", [goesAgain(a), goesAgain(a), a], "new", 1, "a"],
  ] as const)("%s", (_, drafts, client, weight, expected) => {
    expect(filled(...drafts).inFavourOf(client, weight, 1)?.client ?? null).toBe(expected);
  });

  const heavyB = [b, b, b].map(heavy);
  test.each([
    ["who has none gets one of who has several, whatever their weights", heavyB, "a", 1, "b"],
    ["nobody gives up the only one", [a, b].map(heavy), "c", 1, null],
    ["not for a second one that its weight is not worth", [a, ...heavyB], "a", 1, null],
    ["who has several gives up more than its weight is worth", [a, a, b].map(heavy), "b", 3, "a"],
    ["not a request that goes again", [a, a].map(goesAgain), "new", 1, null],
  ] as const)("where the last place of each is kept: %s", (_, drafts, client, weight, expected) => {
    const places = filledIn(new Places(true), ...drafts);
    expect(places.inFavourOf(client, weight, 1)?.client ?? null).toBe(expected);
  });

  function heavy(draft: { client: string }): Omit<Draft, "seq"> {
    return { ...draft, weight: draft.client === "b" ? 3 : 1 };
  }

  function goesAgain(draft: { client: string }): Omit<Draft, "seq"> {
    return { ...draft, again: true };
  }

  test("a weight that changes counts from the next request on", () => {
    const places = filled(a, a, a, b, b);
    expect(places.inFavourOf("b", 1, 1)).toBeNull();
    places.add(waiting({ seq: 9, client: "a", weight: 0.5 }), 1);
    expect(places.inFavourOf("b", 1, 1)).toEqual({ client: "a", spare: 2.5 });
  });

  test("what was taken out holds nothing, and nobody is remembered for nothing", () => {
    const places = new Places();
    const items = [0, 1, 2].map((seq) => waiting({ seq }));
    for (const item of items) places.add(item, 5);
    expect(places.inFavourOf("new", 1, 9)).toEqual({ client: "one", spare: 6 });
    for (const item of items) places.remove(item, 5);
    expect(places.clients).toBe(0);
    expect(places.inFavourOf("new", 1, 1)).toBeNull();
  });
});

test("whoever gives way holds the most by weight, and a client within its share never has to", () => {
  const held = fc.record({
    client: fc.constantFrom("a", "b", "c", "d"),
    again: fc.boolean(),
    leaves: fc.boolean(),
    amount: fc.integer({ min: 1, max: 9 }),
  });
  const weights = fc.record({
    a: fc.constantFrom(1, 2, 0.5),
    b: fc.constantFrom(1, 3),
    c: fc.constantFrom(1, 7),
    d: fc.constantFrom(1, 10),
  });
  fc.assert(
    fc.property(
      fc.array(held),
      weights,
      fc.constantFrom("a", "b"),
      fc.boolean(),
      (all, weightOf, newcomer, keepsLast) => {
        const places = new Places(keepsLast);
        const model = new Map<string, { held: number; mayGo: boolean; requests: number }>();
        for (const [seq, { client, again, leaves, amount }] of all.entries()) {
          const item = waiting({
            seq,
            client,
            again,
            weight: weightOf[client],
          });
          places.add(item, amount);
          if (leaves) {
            places.remove(item, amount);
            continue;
          }
          const one = model.get(client) ?? { held: 0, mayGo: false, requests: 0 };
          model.set(client, {
            held: one.held + amount,
            mayGo: one.mayGo || !again,
            requests: one.requests + 1,
          });
        }
        expect(places.clients).toBe(model.size);
        const share = (client: string, more: number): number =>
          ((model.get(client)?.held ?? 0) + more) / weightOf[client as keyof typeof weightOf];
        const candidates = [...model]
          .filter(([, { mayGo, requests }]) => mayGo && (!keepsLast || requests > 1))
          .map(([client]) => client);
        const most = Math.max(...candidates.map((client) => share(client, 0)));
        const loser = places.inFavourOf(newcomer, weightOf[newcomer], 1);
        if (keepsLast && !model.has(newcomer)) expect(loser !== null).toBe(candidates.length > 0);
        else if (loser === null) expect(most).toBeLessThanOrEqual(share(newcomer, 1));
        else expect(share(loser.client, 0)).toBeGreaterThan(share(newcomer, 1));
        if (loser !== null) {
          expect(share(loser.client, 0)).toBe(most);
          expect(loser.client).not.toBe(newcomer);
        }
      },
    ),
  );
});

describe("from the back of the queue", () => {
  function flowsOf(...drafts: readonly Omit<Draft, "seq">[]): Iterable<Waiting> {
    const shares = new Shares();
    const line = new Line(shares);
    drafts.forEach((draft, seq) => line.push(waiting({ seq, ...draft })));
    return fromTheBack(shares.flowsOf("one"), 300_000);
  }

  test.each([
    ["the newest first, whatever its size", [{}, { amount: 9_000 }, {}], [2, 1, 0]],
    ["the lowest class before others", [{ priority: "low" }, {}, { priority: "high" }], [0, 1, 2]],
    [
      "a class is what waiting has made of it",
      [{ priority: "low" }, { arrivedAt: 250_000 }, { priority: "high", arrivedAt: 250_000 }],
      [1, 2, 0],
    ],
    ["only this client's", [{ client: "other" }, {}, { client: "other" }], [1]],
    ["none that goes again", [{ again: true }, {}, { again: true }], [1]],
    ["nobody", [], []],
  ] as const)("%s", (_, drafts, expected) => {
    expect(Array.from(flowsOf(...drafts), ({ seq }) => seq)).toEqual([...expected]);
  });
});
