import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import { IdIndex } from "../../src/client/id-index.ts";
import { Ids } from "../../src/client/ids.ts";
import { Wheel } from "../../src/client/wheel.ts";
import type { Clock } from "../../src/clock.ts";
import { ClientLimits } from "../../src/client/limits.ts";
import { FakeClock } from "../clock.ts";
import { client, configOf, cost, limitsOf } from "./requests.ts";

test("the index finds what a Map would", () => {
  const step = fc.record({
    add: fc.boolean(),
    key: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 5_000 })),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 3_000, size: "max" }), (all) => {
      const ids: string[] = [];
      const index = new IdIndex((slot, id) => ids[slot] === id);
      const model = new Map<string, number>();
      for (const { add, key } of all) {
        const id = `ip:${key}`;
        expect(index.find(id)).toBe(model.get(id) ?? -1);
        if (add && !model.has(id)) {
          ids.push(id);
          index.add(id, ids.length - 1);
          model.set(id, ids.length - 1);
        } else if (!add) expect(index.remove(id)).toBe(model.delete(id));
        expect(index.size).toBe(model.size);
      }
      for (const [id, slot] of model) expect(index.find(id)).toBe(slot);
    }),
    { numRuns: 30 },
  );
});

test("places tell their ids, whatever these are", () => {
  const id = fc.oneof(
    fc.constantFrom("ip:2001:db8::1234:5678:9abc:def0", "key:ünï", "key:日本", "header:\0", "x"),
    fc.string({ minLength: 1, maxLength: 40, unit: "binary" }),
    fc.constant(""),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(9), id)), id, (puts, other) => {
      const ids = new Ids(10);
      const model = new Map<number, string>();
      for (const [place, one] of puts) {
        ids.put(place, one);
        if (one === "") model.delete(place);
        else model.set(place, one);
        for (let at = 0; at < 10; at++) {
          expect(ids.at(at)).toBe(model.get(at) ?? "");
          for (const asked of [one, other])
            if (asked !== "") expect(ids.stands(at, asked)).toBe(model.get(at) === asked);
        }
      }
      expect(new Map(ids.entries())).toEqual(model);
    }),
    { numRuns: 200 },
  );
});

test("the wheel gives everything back, not before its time and soon after", () => {
  const times = fc.array(fc.integer({ min: 0, max: 400_000 }), { maxLength: 200 });
  fc.assert(
    fc.property(times, fc.integer({ min: 1, max: 5_000 }), (all, stepMs) => {
      const next: number[] = [];
      const links = {
        next: (slot: number) => next[slot] ?? -1,
        setNext: (slot: number, to: number) => void (next[slot] = to),
      };
      const wheel = new Wheel(links, 1_000);
      for (const [slot, at] of all.entries()) wheel.add(slot, at);
      const left = new Set(all.keys());
      for (let now = 1_000; left.size > 0; now += stepMs) {
        for (let slot = wheel.due(now); slot !== -1; slot = wheel.due(now)) {
          const at = all[slot] ?? 0;
          if (at > now) wheel.add(slot, at);
          else left.delete(slot);
        }
        for (const slot of left) expect(all[slot] ?? 0).toBeGreaterThan(now - 500);
      }
      expect(wheel.count).toBe(0);
      expect(wheel.soonest()).toBe(-1);
    }),
    { numRuns: 60 },
  );
});

describe("100,000 clients", () => {
  const many = 100_000;
  const fill = (limits: ClientLimits, from = 0): void => {
    for (let i = from; i < from + many; i++) limits.take(client(`anon:${i}`), cost());
  };

  test("are forgotten a few hundred at a time, and others have their turn in between", () => {
    let now = 1_700_000_000_000;
    let due: (() => void)[] = [];
    const clock: Clock = {
      now: () => now,
      at: (_, run) => {
        due.push(run);
        return () => undefined;
      },
    };
    const limits = new ClientLimits({ clock, config: configOf({ rate_limit: 60 }) });
    fill(limits);
    expect(limits.tracked()).toBe(many);
    now += 10_000;
    for (let before = many; before > 0; before = limits.tracked()) {
      const [run, ...more] = due;
      due = more;
      run?.();
      expect(before - limits.tracked()).toBeWithin(1, 257);
    }
    expect(due).toEqual([]);
  });

  test("make room for as many more: those who come forget those who can go", () => {
    const clock = new FakeClock();
    const limits = new ClientLimits({ clock, config: configOf({ rate_limit: 60 }) });
    fill(limits);
    // No timer runs, as when the process has no moment to spare.
    clock.skip(10_000);
    fill(limits, many);
    expect(limits.tracked()).toBe(many);
    clock.advance(10_000);
    expect(limits.tracked()).toBe(0);
    fill(limits);
    expect(limits.tracked()).toBe(many);
  });
});

test("there are never more than the most, and those of virtual keys stay", () => {
  const keys = [{ name: "a", tier: null }];
  const { clock, limits } = limitsOf({ rate_limit: 1, keys }, 100);
  limits.take(client("key:a"), cost());
  for (let i = 0; i < 1_000; i++) {
    limits.take(client(`ip:${i}`), cost());
    expect(limits.tracked()).toBeLessThanOrEqual(100);
  }
  expect(limits.take(client("key:a"), cost()).ok).toBe(false);
  expect(limits.take(client("ip:999"), cost()).ok).toBe(false);
  clock.advance(200_000);
  expect(limits.tracked()).toBe(0);
});

test("a reset client may come back before its old place is free", () => {
  const { clock, limits } = limitsOf({ rate_limit: 1 });
  for (let i = 0; i < 10_000; i++) {
    expect(limits.take(client("ip:1"), cost()).ok).toBe(true);
    expect(limits.reset("ip:1")).toBe(true);
  }
  expect(limits.tracked()).toBe(0);
  clock.advance(120_000);
  expect(clock.pending).toBe(0);
});

test("after the end no timer is left", () => {
  const { clock, limits } = limitsOf({ rate_limit: 1 });
  limits.take(client("ip:1"), cost());
  limits.close();
  limits.take(client("ip:2"), cost());
  expect(clock.pending).toBe(0);
});
