import { expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Dated } from "../../src/queue/deadlines.ts";
import { Deadlines } from "../../src/queue/deadlines.ts";

interface Item extends Dated<Item> {
  id: number;
}

const item = (id: number, deadlineAt: number): Item => ({
  id,
  deadlineAt,
  place: -1,
  previousToEnd: null,
  nextToEnd: null,
});

const step = fc.oneof(
  // In order, as where all may wait equally long, or in any.
  fc.record({ what: fc.constant("in order" as const), ms: fc.nat(3) }),
  fc.record({ what: fc.constant("push" as const), ms: fc.nat(50) }),
  fc.record({ what: fc.constant("remove" as const), which: fc.nat() }),
  fc.record({ what: fc.constant("first" as const) }),
);

test("the first has the least deadline, in whatever order they come and leave", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const deadlines = new Deadlines<Item>();
      const model: Item[] = [];
      let now = 0;
      const push = (fresh: Item): void => {
        deadlines.push(fresh);
        model.push(fresh);
      };
      const remove = (gone: Item | undefined): void => {
        if (gone === undefined) return;
        deadlines.remove(gone);
        model.splice(model.indexOf(gone), 1);
        // What has left leads to nobody, and comes anew like any other.
        expect(gone).toEqual(item(gone.id, gone.deadlineAt));
      };
      for (const [id, one] of steps.entries()) {
        if (one.what === "in order") push(item(id, (now += one.ms) + 60));
        else if (one.what === "push") push(item(id, now + one.ms));
        else if (one.what === "remove") remove(model[one.which % model.length]);
        else remove(deadlines.first() ?? undefined);

        const least = Math.min(...model.map(({ deadlineAt }) => deadlineAt));
        expect(deadlines.first()?.deadlineAt ?? Infinity).toBe(least);
        expect(deadlines.size).toBe(model.length);
        const ids = [...deadlines.items()].map((each) => each.id);
        expect(ids.toSorted((a, b) => a - b)).toEqual(model.map((each) => each.id));
      }
      const drained: number[] = [];
      for (let next = deadlines.first(); next !== null; next = deadlines.first()) {
        drained.push(next.deadlineAt);
        remove(next);
      }
      expect(drained).toEqual(drained.toSorted((a, b) => a - b));
      expect(model).toEqual([]);
    }),
  );
});

test("one that left may come again, with another deadline", () => {
  const deadlines = new Deadlines<Item>();
  const [early, late, other] = [item(1, 10), item(2, 20), item(3, 15)];
  for (const each of [late, other, early]) deadlines.push(each);
  expect(deadlines.first()).toBe(early);
  deadlines.remove(early);
  expect(deadlines.first()).toBe(other);
  early.deadlineAt = 30;
  deadlines.push(early);
  deadlines.remove(other);
  deadlines.remove(late);
  expect(deadlines.first()).toBe(early);
  expect(deadlines.size).toBe(1);
});
