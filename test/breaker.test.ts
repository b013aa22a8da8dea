import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Pass } from "../src/breaker.ts";
import { Breaker } from "../src/breaker.ts";
import { FakeClock } from "./clock.ts";

const openMs = 60_000;

function setUp(failures = 3) {
  const clock = new FakeClock();
  const breaker = new Breaker(clock, { failures, openMs });
  const enter = (upstream = "a"): Pass => {
    const pass = breaker.enter(upstream, clock.now());
    if (pass === null) throw new Error(`${upstream} is blocked`);
    return pass;
  };
  const fail = (times: number, waitMs: number | null = null): void => {
    for (let n = 0; n < times; n++) breaker.failed(enter(), "q", waitMs);
  };
  return { clock, breaker, enter, fail };
}

describe("a circuit", () => {
  test("opens after so many failures in a row, and not before", () => {
    const { breaker, fail } = setUp();
    fail(2);
    expect(breaker.blocked("a")).toBeNull();
    expect(breaker.stateOf("q")).toBe("closed");
    fail(1);
    expect(breaker.blocked("a")).toBe(openMs);
    expect(breaker.stateOf("q")).toBe("open");
  });

  test("opens after ten by default, for a minute", () => {
    const clock = new FakeClock();
    const breaker = new Breaker(clock);
    for (let n = 0; n < 10; n++) {
      expect(breaker.blocked("a")).toBeNull();
      const pass = breaker.enter("a", clock.now());
      if (pass !== null) breaker.failed(pass, null, null);
    }
    expect(breaker.blocked("a")).toBe(60_000);
  });

  test("a success begins the count anew, a release does not", () => {
    const { breaker, enter, fail } = setUp();
    fail(2);
    breaker.succeeded(enter());
    fail(2);
    breaker.released(enter());
    expect(breaker.blocked("a")).toBeNull();
    fail(1);
    expect(breaker.blocked("a")).toBe(openMs);
  });

  test.each([
    [null, openMs],
    [5_000, openMs],
    [90_000, 90_000],
  ])("stays open for the upstream's %p where that is longer", (waitMs, expected) => {
    const { breaker, fail } = setUp();
    fail(2);
    fail(1, waitMs);
    expect(breaker.blocked("a")).toBe(expected);
  });

  test("of an upstream is no other's", () => {
    const { breaker, enter, fail } = setUp();
    fail(3);
    expect(breaker.blocked("b")).toBeNull();
    expect(enter("b").probe).toBe(false);
    expect(breaker.stateOf("other")).toBe("closed");
  });

  test("lets one probe go when its time is over; success closes it", () => {
    const { clock, breaker, enter, fail } = setUp();
    fail(3);
    clock.advance(openMs - 1);
    expect(breaker.blocked("a")).toBe(1);
    expect(breaker.enter("a", clock.now())).toBeNull();
    clock.advance(1);
    expect(breaker.blocked("a")).toBeNull();
    const probe = enter();
    expect(probe.probe).toBe(true);
    expect(breaker.stateOf("q")).toBe("half_open");
    expect(breaker.blocked("a")).toBeGreaterThan(0);
    expect(breaker.enter("a", clock.now())).toBeNull();
    breaker.succeeded(probe);
    expect(breaker.stateOf("q")).toBe("closed");
    expect([...breaker.states()]).toEqual([{ upstream: "a", state: "closed" }]);
    expect(enter().probe).toBe(false);
  });

  test("a probe that fails opens it for as long again", () => {
    const { clock, breaker, enter, fail } = setUp();
    fail(3);
    clock.advance(openMs);
    breaker.failed(enter(), "q", null);
    expect(breaker.blocked("a")).toBe(openMs);
    clock.advance(openMs);
    expect(enter().probe).toBe(true);
  });

  test("a probe of which nothing was learned leaves room for the next", () => {
    const { clock, breaker, enter, fail } = setUp();
    fail(3);
    clock.advance(openMs);
    breaker.released(enter());
    expect(breaker.blocked("a")).toBeNull();
    expect(enter().probe).toBe(true);
  });

  test("verdicts on what left before the circuit changed are about another time", () => {
    const { clock, breaker, enter, fail } = setUp();
    const early = [enter(), enter(), enter(), enter()];
    clock.advance(1);
    fail(3);
    // Neither does a late failure prolong it, nor a late success close it.
    clock.advance(1_000);
    for (const pass of early.slice(0, 2)) breaker.failed(pass, "q", 600_000);
    breaker.succeeded(early[2] as Pass);
    expect(breaker.blocked("a")).toBe(openMs - 1_000);
    clock.advance(openMs);
    breaker.succeeded(enter());
    breaker.failed(early[3] as Pass, "q", null);
    fail(2);
    expect(breaker.blocked("a")).toBeNull();
  });

  test("circuits in good order are forgotten when there are too many", () => {
    const { breaker, enter } = setUp();
    for (let n = 0; n < 1_500; n++) breaker.failed(enter(`host-${n}`), null, null);
    expect([...breaker.states()].length).toBeLessThanOrEqual(1_000);
  });
});

test("however verdicts come: one probe at a time, and never a request while it is open", () => {
  const step = fc.record({
    ms: fc.nat(40_000),
    verdict: fc.constantFrom("succeeded", "failed", "released", "none" as const),
    which: fc.nat(10),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const { clock, breaker } = setUp(3);
      const passes: Pass[] = [];
      for (const { ms, verdict, which } of steps) {
        clock.advance(ms);
        const blocked = breaker.blocked("a");
        const [state] = [...breaker.states()].map((one) => one.state);
        const pass = breaker.enter("a", clock.now());
        expect(pass === null).toBe(blocked !== null);
        if (pass !== null) passes.push(pass);
        expect(passes.filter(({ probe }) => probe).length).toBeLessThanOrEqual(1);
        if (state === "closed" || state === undefined) expect(pass?.probe ?? false).toBe(false);
        if (verdict === "none" || passes.length === 0) continue;
        const [judged] = passes.splice(which % passes.length, 1) as [Pass];
        if (verdict === "failed") breaker.failed(judged, "q", null);
        else breaker[verdict](judged);
      }
    }),
  );
});
