import { expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Heaped } from "../../src/queue/heap.ts";
import { Heap } from "../../src/queue/heap.ts";

interface Item extends Heaped {
  key: number;
  id: number;
}

test("the first is the least, whatever is pushed, removed and changed", () => {
  const step = fc.record({
    what: fc.constantFrom("push", "push", "remove", "update"),
    key: fc.nat(50),
    which: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const heap = new Heap<Item>((a, b) => a.key < b.key || (a.key === b.key && a.id < b.id));
      const model: Item[] = [];
      for (const [id, { what, key, which }] of steps.entries()) {
        const chosen = model[which % Math.max(1, model.length)];
        if (what === "push") {
          const item = { key, id, place: -1 };
          heap.push(item);
          model.push(item);
        } else if (chosen !== undefined && what === "remove") {
          heap.remove(chosen);
          expect(chosen.place).toBe(-1);
          model.splice(model.indexOf(chosen), 1);
        } else if (chosen !== undefined) {
          chosen.key = key;
          heap.update(chosen);
        }
        const [least] = model.toSorted((a, b) => a.key - b.key || a.id - b.id);
        expect(heap.first()).toBe(least as Item);
        expect(heap.size).toBe(model.length);
      }
      const places = [...heap.items()].map(({ place }) => place);
      expect(places).toEqual(model.map((_, i) => i));
      const drained: number[] = [];
      for (let item = heap.first(); item !== undefined; item = heap.first()) {
        drained.push(item.key);
        heap.remove(item);
      }
      expect(drained).toEqual(drained.toSorted((a, b) => a - b));
    }),
  );
});
