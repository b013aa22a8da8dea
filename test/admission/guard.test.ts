import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { worstStart } from "../../src/admission/forecast.ts";
import type { Lease } from "../../src/admission/lease.ts";
import type { Path } from "../../src/admission/path.ts";
import { account, bucket, leaky, rpm, slots, tokens, tpm } from "../ledger/costs.ts";
import type { Fate } from "./desk.ts";
import { Desk } from "./desk.ts";

/** Nobody is lifted by waiting: who came first is first. */
const patient = { requestTimeoutMs: 1e12 };

const setUps = {
  window: (desk: Desk) => [desk.path(account("a", [tpm(1_000), rpm(12)], patient))],
  bucket: (desk: Desk) => [desk.path(account("a", [bucket(1_000)], patient))],
  slots: (desk: Desk) => [desk.path(account("a", [tpm(1_000), slots(3)], patient))],
  pace: (desk: Desk) => {
    const pace = account("pace", [leaky(0.5, 2)], patient);
    return [desk.path(pace, account("a", [tpm(1_000)], patient)), desk.path(pace)];
  },
  several: (desk: Desk) => {
    const [a, b] = [
      account("a", [bucket(1_000)], patient),
      account("b", [tpm(1_500), rpm(10)], patient),
    ];
    return [desk.path(a, b), desk.path(a), desk.path(b)];
  },
} satisfies Record<string, (desk: Desk) => Path[]>;

const step = fc.record({
  gapMs: fc.oneof({ weight: 6, arbitrary: fc.nat(900) }, fc.nat(15_000)),
  ask: fc.boolean(),
  path: fc.nat(2),
  // Powers of two, so that sizes stand in lanes of their own and may pass.
  size: fc.integer({ min: 3, max: 9 }),
  outlook: fc.option(fc.record({ durationMs: fc.nat(30_000), share: fc.nat(100) }), { nil: null }),
  what: fc.constantFrom("sent", "arrived", "arrived", "commit", "cancel"),
  which: fc.nat(1_000),
  actualShare: fc.nat(100),
});

test.each(Object.entries(setUps))(
  "the first in the queue is never put off: %s",
  async (_, setUp) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 30, maxLength: 120, size: "max" }),
        async (steps) => {
          const desk = new Desk();
          const paths = setUp(desk);
          const all: { asked: { fate: Fate }; path: Path; amount: number; bySeen: boolean }[] = [];
          let running: { lease: Lease; amount: number }[] = [];
          let promised: { first: (typeof all)[number]; at: number } | null = null;
          const look = (): void => {
            for (const one of all) {
              if (one.bySeen || one.asked.fate.state !== "granted") continue;
              one.bySeen = true;
              one.asked.fate.lease.sent();
              running.push({ lease: one.asked.fate.lease, amount: one.amount });
            }
            const first = all.find(({ asked }) => asked.fate.state === "waiting");
            if (first === undefined) return void (promised = null);
            const at = worstStart(first.path.limits, tokens(first.amount), desk.clock.now());
            // What settles less than reserved, and what arrives early, can only bring it forward.
            if (promised?.first === first) expect(at).toBeLessThanOrEqual(promised.at + 0.01);
            promised = { first, at: promised?.first === first ? Math.min(at, promised.at) : at };
          };
          for (const { gapMs, ask, path, size, outlook, what, which, actualShare } of steps) {
            const end = desk.clock.now() + gapMs;
            while (desk.clock.now() < end) {
              await desk.pass(Math.max(0, Math.min(end, desk.clock.nextAt) - desk.clock.now()));
              look();
            }
            const amount = 2 ** size;
            const chosen = running[which % Math.max(1, running.length)];
            if (ask) {
              const way = paths[path % paths.length] as Path;
              const cost = tokens(Math.floor((amount * (outlook?.share ?? 0)) / 100));
              const asked = desk.ask(way, {
                amount,
                outlook: outlook === null ? null : { durationMs: outlook.durationMs, cost },
              });
              all.push({ asked, path: way, amount, bySeen: false });
            } else if (chosen !== undefined) {
              if (what === "commit")
                chosen.lease.commit(tokens(Math.floor((chosen.amount * actualShare) / 100)));
              else if (what !== "cancel" || actualShare < 10) chosen.lease[what]();
              running = running.filter(({ lease }) => lease.open);
            }
            await desk.pass();
            look();
          }
        },
      ),
      // Shrinking so long a story takes longer than a test may.
      { numRuns: 60, endOnFailure: true },
    );
  },
);
