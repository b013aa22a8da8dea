import { expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Reservation } from "../../src/ledger/ledger.ts";
import type { Entry } from "../../src/limit/limit.ts";
import { newEntry } from "../../src/limit/limit.ts";
import { FakeClock } from "../clock.ts";
import { fates } from "../limit/fates.ts";
import type { Call, Limited } from "../limit/upstream.ts";
import { simulate } from "../limit/upstream.ts";
import { account, bucket, leaky, tokens, tpm } from "./costs.ts";
import { only, reserve, Store } from "./store.ts";

test.each([
  ["sliding window", tpm],
  ["token bucket", bucket],
] as const)(
  "after crashes never more than a %s allows, counting all that was dispatched before",
  (_, kind) => {
    const size = 40;
    const marginMs = 1_000;
    const crashes = fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 4 });
    // Shorter than 100 ms: it left that long after its commit. Longer: its body was still arriving.
    const gaps = fc.nat(100);
    fc.assert(
      fc.property(fates(15), crashes, gaps, (list, after, dispatchMs) => {
        const clock = new FakeClock();
        let store = new Store(clock, [account("a", [kind(size, marginMs)])]);
        let crashAt = after.shift() ?? Infinity;
        let events = 0;
        const lastCrash = { at: -Infinity };
        const mine = new Map<Entry, { store: Store; reservation: Reservation }>();
        const sync = (now: number): void => clock.advance(now - clock.now());
        const onMine = (
          entry: Entry,
          now: number,
          run: (store: Store, reservation: Reservation) => void,
        ): void => {
          sync(now);
          const made = mine.get(entry);
          if (made?.store === store) run(store, made.reservation);
        };
        const limit: Limited = {
          max: size,
          fits(now, amount) {
            sync(now);
            return only(store.ledger).limits.every((one) => one.fits(now, amount));
          },
          charge(now, amount, _outlook, { sendMs }) {
            const entry = newEntry(amount, now);
            mine.set(entry, { store, reservation: reserve(store, now, amount, sendMs > 100) });
            // Not dispatched before it is committed.
            clock.advance(0);
            return entry;
          },
          sent: (entry, now) => onMine(entry, now, ({ ledger }, made) => ledger.sent(made, now)),
          arrived: (entry, now) =>
            onMine(entry, now, ({ ledger }, made) => ledger.arrived(made, now)),
          settle: (entry, now, actual) =>
            onMine(entry, now, ({ ledger }, made) => ledger.settle(made, now, tokens(actual))),
          release: (entry, now) =>
            onMine(entry, now, ({ ledger }, made) => ledger.release(made, now)),
        };
        const seen: Call[] = [];
        let level = 0;
        let levelAt = clock.now();
        const drain = (now: number): void => {
          level = Math.max(0, level - ((now - levelAt) * size) / 60_000);
          levelAt = now;
        };
        simulate(
          {
            limit,
            marginMs,
            startAt: clock.now(),
            // A body that was cut off by the crash is not counted after it.
            counts: ({ dispatchedAt, sentAt }, now) => {
              const cut =
                dispatchedAt <= lastCrash.at && sentAt > lastCrash.at && now > lastCrash.at;
              return !cut;
            },
            onCount(call, now) {
              seen.push(call);
              if (kind === tpm) {
                const inWindow = seen.filter(({ countedAt }) => countedAt > now - 60_000);
                expect(inWindow.reduce((sum, { charged }) => sum + charged, 0)).toBeLessThanOrEqual(
                  size,
                );
              } else {
                drain(now);
                level += call.charged;
                expect(level).toBeLessThanOrEqual(size + 1e-6);
              }
            },
            onRevise(call, before, now) {
              drain(now);
              level = Math.max(0, level + call.charged - before);
            },
            onEvent(now) {
              sync(now);
              if (++events < crashAt) return;
              crashAt = events + (after.shift() ?? Infinity);
              lastCrash.at = now;
              store = store.afterCrash();
            },
          },
          list.map((fate) => (fate.sendMs === 0 ? { ...fate, sendMs: dispatchMs } : fate)),
        );
      }),
      // Shrinking so long a story takes longer than a test may.
      { numRuns: 120, endOnFailure: true },
    );
  },
);

test("after crashes never faster than a leaky bucket allows", () => {
  const step = fc.record({
    gapMs: fc.oneof(fc.nat(60), fc.nat(3_000)),
    what: fc.constantFrom("send", "send", "send", "send", "give back", "crash", "close"),
  });
  const steps = fc.array(step, { minLength: 20, maxLength: 100, size: "max" });
  fc.assert(
    fc.property(
      steps,
      fc.constantFrom(0.4, 2, 20),
      fc.integer({ min: 1, max: 4 }),
      (list, rate, burst) => {
        const clock = new FakeClock();
        const specs = [account("a", [leaky(rate, burst)])];
        let store = new Store(clock, specs);
        const left: number[] = [];
        for (const { gapMs, what } of list) {
          clock.advance(gapMs);
          const now = clock.now();
          const [limit] = only(store.ledger).limits;
          if (what === "crash") store = store.afterCrash();
          else if (what === "close") {
            const next = store.afterClose();
            // In good order nothing is lost, and nothing more is waited for.
            const before = limit?.fitsAt(now, 1) ?? NaN;
            expect(only(next.ledger).limits[0]?.fitsAt(now, 1)).toBe(before);
            store = next;
          } else if (limit?.fits(now, 1) === true) {
            const made = reserve(store, now, 1);
            if (store.ledger.committed(made) !== null) clock.advance(0);
            if (what === "give back") store.ledger.release(made, now);
            else left.push(now);
          }
        }
        for (const [i, from] of left.entries()) {
          for (let j = i; j < left.length; j++) {
            const span = (left[j] ?? NaN) - from;
            expect(j - i + 1).toBeLessThanOrEqual(burst + ((span + 5.01) * rate) / 1_000 + 1e-6);
          }
        }
      },
    ),
    { numRuns: 100 },
  );
});
