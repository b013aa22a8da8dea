import { expect, test } from "bun:test";
import { RedisLedger } from "../../src/ledger/redis.ts";
import { FakeClock } from "../clock.ts";
import { ModelStore } from "./model-store.ts";
import { RedisModel } from "./redis-model.ts";

/** A store whose counts of the processes come when a test says so. */
class SlowStore extends ModelStore {
  readonly pulses: ((count: number) => void)[] = [];

  override pulse(_: string, done: (count: number | null, isNew: boolean) => void): void {
    this.pulses.push((count) => done(count, false));
  }
}

function setup() {
  const clock = new FakeClock();
  const store = new SlowStore(new RedisModel(), () => clock.now());
  return { store, ledger: new RedisLedger({ store, clock, onFailure: "local" }) };
}

test("a count that was told before the news of another is not believed over it", () => {
  const { store, ledger } = setup();
  store.onCount(2);
  // Ours was the first of both: its answer has only come later, on another connection.
  store.pulses.shift()?.(1);
  expect(ledger.parts).toBe(2);
  // It is asked again at once, since the news might have been the older.
  expect(store.pulses).toHaveLength(1);
  store.pulses.shift()?.(2);
  expect(ledger.parts).toBe(2);
  expect(store.pulses).toHaveLength(0);
  ledger.close();
});

test("news that are older than a count are corrected at once", () => {
  const { store, ledger } = setup();
  store.onCount(3);
  store.pulses.shift()?.(2);
  expect(ledger.parts).toBe(3);
  store.pulses.shift()?.(2);
  expect(ledger.parts).toBe(2);
  ledger.close();
});

test("a count that news agree with, or that none came beside, is believed", () => {
  const { store, ledger } = setup();
  store.pulses.shift()?.(4);
  expect(ledger.parts).toBe(4);
  store.onCount(2);
  expect(ledger.parts).toBe(2);
  expect(store.pulses).toHaveLength(0);
  ledger.close();
});
