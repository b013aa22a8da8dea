import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { Deque } from "../../src/limit/deque.ts";

test("behaves like an array, whatever is pushed and shifted", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(), fc.constant(null)), { maxLength: 300, size: "max" }),
      (steps) => {
        const deque = new Deque<number>();
        const model: number[] = [];
        for (const step of steps) {
          if (step === null) expect(deque.shift()).toBe(model.shift() as number);
          else {
            deque.push(step);
            model.push(step);
          }
          expect(deque.length).toBe(model.length);
          expect(deque.at(0)).toBe(model[0] as number);
        }
        expect(model.map((_, i) => deque.at(i))).toEqual(model);
        expect(deque.at(model.length)).toBeUndefined();
      },
    ),
  );
});

test("many elements in and out", () => {
  const deque = new Deque<number>();
  for (let i = 0; i < 1_000; i++) deque.push(i);
  for (let i = 0; i < 1_000; i++) expect(deque.shift()).toBe(i);
  expect(deque.shift()).toBeUndefined();
});
