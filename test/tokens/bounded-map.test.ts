import { expect, test } from "bun:test";
import fc from "fast-check";
import { BoundedMap } from "../../src/tokens/bounded-map.ts";

test("keeps the keys used last, whatever happens", () => {
  const operation = fc.record({
    write: fc.boolean(),
    key: fc.integer({ min: 0, max: 12 }),
    value: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 100 }), (operations) => {
      const map = new BoundedMap<number, number>(5);
      let model: (readonly [number, number])[] = [];
      for (const { write, key, value } of operations) {
        const old = model.find(([known]) => known === key);
        if (!write) expect(map.get(key)).toBe(old?.[1]);
        const now = write ? value : old?.[1];
        if (write) map.set(key, value);
        if (now !== undefined)
          model = [...model.filter(([known]) => known !== key), [key, now] as const].slice(-5);
        expect(map.size).toBe(model.length);
        expect([...map]).toEqual(model.map(([known, kept]) => [known, kept]));
      }
    }),
  );
});
