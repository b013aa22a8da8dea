import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { Forecast } from "../../src/limit/forecast.ts";
import type { Entry } from "../../src/limit/limit.ts";
import { newEntry } from "../../src/limit/limit.ts";

const sliceMs = 100;
const slices = 20;
const start = 1_700_000_000_000;

test("agrees with a list of what is expected when", () => {
  const step = fc.record({
    gapMs: fc.nat(900),
    add: fc.boolean(),
    amount: fc.nat(50),
    final: fc.nat(60),
    inMs: fc.integer({ min: -500, max: 4_000 }),
    which: fc.nat(100),
    aheadMs: fc.integer({ min: -200, max: 3_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const forecast = new Forecast(sliceMs, slices);
      const model: { entry: Entry; slice: number; refund: number }[] = [];
      let now = start;
      for (const { gapMs, add, amount, final, inMs, which, aheadMs } of steps) {
        now += gapMs;
        const head = Math.floor(now / sliceMs);
        const chosen = model[which % Math.max(1, model.length)];
        if (add) {
          const entry = newEntry(amount, now);
          forecast.add(entry, now, { endAt: now + inMs, amount: final });
          const slice = Math.min(
            Math.max(Math.ceil((now + inMs) / sliceMs), head + 1),
            head + slices,
          );
          if (amount > final) model.push({ entry, slice, refund: amount - final });
        } else if (chosen !== undefined) {
          forecast.remove(chosen.entry, now);
          forecast.remove(chosen.entry, now);
          model.splice(model.indexOf(chosen), 1);
        }
        const at = now + aheadMs;
        const due = model.filter(({ slice }) => slice <= Math.floor(at / sliceMs));
        const late = model.filter(({ slice }) => slice <= head);
        const sum = (list: typeof model): number =>
          list.reduce((total, { refund }) => total + refund, 0);
        expect(forecast.by(now, at)).toBe(at <= now ? 0 : sum(due));
        const ahead = head + 1 + (which % (slices + 2));
        const inSlice = ahead > head + slices ? [] : model.filter(({ slice }) => slice === ahead);
        expect(forecast.within(now, ahead)).toBe(
          sum(inSlice) + (ahead === head + 1 ? sum(late) : 0),
        );
        expect(forecast.within(now, head)).toBe(0);
      }
    }),
    { numRuns: 200 },
  );
});
