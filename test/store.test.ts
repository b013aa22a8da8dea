import { expect, test } from "bun:test";
import type { Pass } from "../src/breaker.ts";
import { Breaker } from "../src/breaker.ts";
import type { Clock } from "../src/clock.ts";
import { Board } from "../src/ledger/redis-board.ts";
import { shareCircuits } from "../src/store.ts";
import { FakeClock } from "./clock.ts";
import { ModelStore } from "./ledger/model-store.ts";
import { RedisModel } from "./ledger/redis-model.ts";

const openMs = 60_000;

/** Processes that share circuits, each with a clock of its own. */
function world() {
  const clock = new FakeClock();
  const model = new RedisModel();
  return {
    clock,
    start(lateMs: number) {
      const own: Clock = { now: () => clock.now() + lateMs, at: clock.at.bind(clock) };
      const store = new ModelStore(model, () => clock.now());
      const board = new Board(store, () => clock.now());
      const breaker = new Breaker(own, { failures: 3, openMs });
      shareCircuits(breaker, board, own);
      board.connected();
      const enter = (): Pass => {
        const pass = breaker.enter("a", own.now());
        if (pass === null) throw new Error("a is blocked");
        return pass;
      };
      const fail = (times: number): void => {
        for (let n = 0; n < times; n++) breaker.failed(enter(), "q", null);
      };
      return { breaker, enter, fail };
    },
  };
}

test("a circuit that opens in one process is open in all, for as long, and in those that start later", () => {
  const { clock, start } = world();
  const [one, other] = [start(0), start(9_000)];
  one.fail(2);
  expect(other.breaker.blocked("a")).toBeNull();
  one.fail(1);
  expect(other.breaker.blocked("a")).toBe(openMs);
  expect(other.breaker.stateOf("q")).toBe("open");
  expect(other.breaker.blocked("b")).toBeNull();
  clock.advance(20_000);
  expect(start(-5_000).breaker.blocked("a")).toBe(openMs - 20_000);
});

test("one process probes; how that ends counts for all", () => {
  const { clock, start } = world();
  const [one, other] = [start(0), start(0)];
  one.fail(3);
  clock.advance(openMs);
  const failing = other.enter();
  expect(one.breaker.blocked("a")).toBeGreaterThan(0);
  other.breaker.failed(failing, null, null);
  expect(one.breaker.blocked("a")).toBe(openMs);
  clock.advance(openMs);
  const served = one.enter();
  expect(other.breaker.blocked("a")).toBeGreaterThan(0);
  one.breaker.succeeded(served);
  for (const { breaker, enter } of [one, other]) {
    expect(breaker.blocked("a")).toBeNull();
    expect(enter().probe).toBe(false);
    expect(breaker.stateOf("q")).toBe("closed");
  }
});

test("a process that dies with its probe keeps the others waiting for seconds only", () => {
  const { clock, start } = world();
  const [one, other] = [start(0), start(0)];
  one.fail(3);
  clock.advance(openMs);
  one.enter();
  expect(other.breaker.blocked("a")).toBeWithin(1, 10_000);
  clock.advance(10_000);
  expect(other.enter().probe).toBe(true);
});

test("of two that probe at once either may close it", () => {
  const { clock, start } = world();
  const [one, other] = [start(0), start(0)];
  one.fail(3);
  clock.advance(openMs);
  const mine = one.enter();
  clock.advance(6_000);
  const theirs = other.enter();
  one.breaker.released(mine);
  other.breaker.succeeded(theirs);
  expect(one.breaker.blocked("a")).toBeNull();
});
