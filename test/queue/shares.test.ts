import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Waiting } from "../../src/queue/lane.ts";
import { Line } from "../../src/queue/line.ts";
import { Shares } from "../../src/queue/shares.ts";
import { serve, waiting } from "./waiting.ts";

const clients = fc.array(
  fc.record({ weight: fc.integer({ min: 1, max: 8 }), amount: fc.integer({ min: 500, max: 900 }) }),
  {
    minLength: 2,
    maxLength: 6,
  },
);

/** A queue in which every client always has something waiting. */
class Backlog {
  readonly shares = new Shares();
  readonly line = new Line(this.shares);
  #seq = 0;

  add(client: string, weight: number, amount: number): Waiting {
    const item = waiting({ seq: this.#seq++, client, weight, amount });
    this.line.push(item);
    return item;
  }

  /** Serves the head and puts another like it in. */
  next(): Waiting {
    const item = this.line.head(0);
    if (item === null) throw new Error("Nobody waits");
    this.add(item.client, item.weight, item.cost.total_tokens);
    serve(this.line, this.shares, item);
    return item;
  }
}

describe("fairness", () => {
  test("over a long run everybody has the same work for their weight, within one request", () => {
    fc.assert(
      fc.property(clients, (list) => {
        const backlog = new Backlog();
        const had = new Map(list.map((_, i) => [String(i), 0]));
        for (const [i, { weight, amount }] of list.entries())
          backlog.add(String(i), weight, amount);
        for (let i = 0; i < 300; i++) {
          const { client, weight, cost } = backlog.next();
          had.set(client, (had.get(client) ?? 0) + cost.total_tokens / weight);
        }
        for (const [i, a] of list.entries()) {
          for (const [j, b] of list.entries()) {
            const apart = Math.abs((had.get(String(i)) ?? 0) - (had.get(String(j)) ?? 0));
            expect(apart).toBeLessThanOrEqual(a.amount / a.weight + b.amount / b.weight + 1e-6);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test("a newcomer waits for at most one turn of each other", () => {
    fc.assert(
      fc.property(clients, fc.nat(200), (list, before) => {
        const backlog = new Backlog();
        for (const [i, { weight, amount }] of list.entries())
          backlog.add(String(i), weight, amount);
        for (let i = 0; i < before; i++) backlog.next();
        backlog.add("new", 1, 500);
        const turns: string[] = [];
        do turns.push(backlog.next().client);
        while (turns.at(-1) !== "new");
        expect(new Set(turns).size).toBe(turns.length);
      }),
      { numRuns: 100 },
    );
  });

  test("leaving and coming back does not make up for what was had", () => {
    const backlog = new Backlog();
    backlog.add("steady", 1, 500);
    backlog.add("fickle", 1, 500);
    let fickle = 0;
    for (let i = 0; i < 100; i++) {
      const item = backlog.line.head(0) as Waiting;
      if (item.client === "fickle") {
        fickle++;
        serve(backlog.line, backlog.shares, item);
        backlog.add("fickle", 1, 500);
      } else backlog.next();
    }
    expect(fickle).toBeWithin(49, 52);
  });

  test("being away saves nothing up", () => {
    const backlog = new Backlog();
    for (const client of ["steady", "other"]) backlog.add(client, 1, 500);
    serve(backlog.line, backlog.shares, backlog.add("away", 2, 500));
    for (let i = 0; i < 50; i++) backlog.next();
    for (let i = 0; i < 20; i++) backlog.add("away", 1, 500);
    const turns = Array.from({ length: 9 }, () => {
      const item = backlog.line.head(0) as Waiting;
      if (item.client === "away") serve(backlog.line, backlog.shares, item);
      else backlog.next();
      return item.client;
    });
    expect(turns.filter((client) => client === "away").length).toBeWithin(3, 5);
  });

  test("served in one lane, a client waits longer in its others too", () => {
    const backlog = new Backlog();
    const small = backlog.add("a", 1, 100);
    backlog.add("a", 1, 900);
    const other = backlog.add("b", 1, 900);
    expect(backlog.line.head(0)).toBe(small);
    serve(backlog.line, backlog.shares, small);
    expect(backlog.line.head(0)).toBe(other);
  });

  test("once nobody waits, the account of who had what ends", () => {
    const backlog = new Backlog();
    serve(backlog.line, backlog.shares, backlog.add("a", 1, 900));
    const first = backlog.add("a", 1, 900);
    backlog.add("b", 1, 900);
    expect(backlog.line.head(0)).toBe(first);
  });
});

test("a hundred thousand clients come and go in passing", () => {
  const backlog = new Backlog();
  for (let i = 0; i < 100_000; i++) backlog.add(String(i), 1, 500);
  const started = performance.now();
  for (let i = 0; i < 99_999; i++) {
    const item = backlog.line.head(0) as Waiting;
    serve(backlog.line, backlog.shares, item);
  }
  // 30 µs each on a slow machine; looking through all that have left each time would take minutes.
  expect(performance.now() - started).toBeLessThan(3_000);
});
