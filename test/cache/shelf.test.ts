import { expect, test } from "bun:test";
import fc from "fast-check";

import { Shelf } from "../../src/cache/shelf.ts";
import type { Item, Place } from "../../src/cache/shelf.ts";

const mega = 1024 * 1024;

test("property: what stands there is what was put there, until it is removed", () => {
  const shelf = new Shelf(mega);
  const step = fc.record({
    head: fc.string(),
    body: fc.uint8Array({ maxLength: 20_000 }),
    remove: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      shelf.clear();
      const items = new Map<Place, Item | null>();
      for (const { head, body, remove } of steps) {
        const item = { head: head.replaceAll("\0", ""), body: new Uint8Array(body) };
        const place = shelf.put(item);
        items.set(place, item);
        const [first] = items.keys();
        if (!remove || first === undefined) continue;
        shelf.remove(first);
        items.delete(first);
        expect(shelf.get(first)).toBeNull();
      }
      for (const [place, item] of items) expect(shelf.get(place)).toEqual(item);
    }),
    { numRuns: 50 },
  );
});

test("more than one board holds", () => {
  const shelf = new Shelf(48 * mega);
  const body = new Uint8Array(6 * mega);
  const places = Array.from({ length: 6 }, (_, number) => shelf.put({ head: `${number}`, body }));
  expect(new Set(places.map(({ board }) => board)).size).toBe(3);
  expect(places.map((place) => shelf.get(place)?.head)).toEqual(["0", "1", "2", "3", "4", "5"]);
  // What has become free is used before there is another board.
  places.slice(0, 2).forEach((place) => shelf.remove(place));
  expect(shelf.put({ head: "next", body }).board).toBe(0);
  shelf.clear();
  expect(shelf.get(places[5]!)).toBeNull();
});
