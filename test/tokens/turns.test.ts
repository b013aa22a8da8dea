import { expect, test } from "bun:test";
import { createTurns } from "../../src/tokens/turns.ts";

test("one caller a turn of the event loop, in order of asking", async () => {
  const nextTurn = createTurns();
  const order: string[] = [];
  let turn = 0;
  const countTurns = (): void => {
    turn++;
    if (order.length < 6) setImmediate(countTurns);
  };
  setImmediate(countTurns);
  const work = async (name: string): Promise<void> => {
    for (let step = 0; step < 2; step++) {
      await nextTurn();
      order.push(`${name}${turn}`);
    }
  };
  await Promise.all([work("a"), work("b"), work("c")]);
  expect(order).toEqual(["a1", "b2", "c3", "a4", "b5", "c6"]);
});

test("starts again after a rest", async () => {
  const nextTurn = createTurns();
  await nextTurn();
  await new Promise((resolve) => setImmediate(resolve));
  await nextTurn();
  expect(true).toBe(true);
});
