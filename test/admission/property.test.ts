import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { fits, worstStart } from "../../src/admission/forecast.ts";
import type { Lease } from "../../src/admission/lease.ts";
import type { Path } from "../../src/admission/path.ts";
import type { AccountSpec } from "../../src/ledger/account.ts";
import type { Priority } from "../../src/queue/lane.ts";
import { priorities } from "../../src/queue/lane.ts";
import { account, bucket, leaky, rpm, slots, tokens, tpm } from "../ledger/costs.ts";
import type { Fate } from "./desk.ts";
import { Desk } from "./desk.ts";

/** Long enough that nobody is lifted by waiting: the order is then class and arrival. */
const requestTimeoutMs = 1e12;

const shared = { group: "shared", requestTimeoutMs };
const apart = { group: "apart", requestTimeoutMs };

/** Each account, and what a reload may make of it. */
const accounts = {
  pace: [account("pace", [leaky(2, 3)], shared), account("pace", [leaky(0.7)], shared)],
  wide: [
    account("wide", [rpm(20), tpm(400)], shared),
    account("wide", [tpm(150), rpm(30)], shared),
  ],
  slots: [
    account("slots", [slots(3), bucket(200)], shared),
    account("slots", [slots(2), bucket(300)], shared),
  ],
  alone: [account("alone", [rpm(5), slots(4)], apart), account("alone", [rpm(8)], shared)],
} satisfies Record<string, readonly AccountSpec[]>;

type Name = keyof typeof accounts;
const paths: readonly (readonly Name[])[] = [
  ["pace", "wide"],
  ["wide"],
  ["slots"],
  ["pace", "slots"],
  ["alone"],
];

interface Asked {
  readonly asked: { fate: Fate };
  readonly path: Path;
  readonly amount: number;
  readonly priority: Priority;
  readonly seq: number;
  readonly deadlineAt: number;
  readonly signal: AbortController;
}

const step = fc.record({
  gapMs: fc.oneof({ weight: 6, arbitrary: fc.nat(700) }, fc.nat(20_000)),
  what: fc.constantFrom(
    "ask",
    "ask",
    "ask",
    "ask",
    "sent",
    "arrived",
    "commit",
    "commit",
    "cancel",
    "leave",
    "reload",
  ),
  path: fc.nat(paths.length - 1),
  amount: fc.integer({ min: 0, max: 170 }),
  priority: fc.constantFrom<Priority>("high", "normal", "low"),
  patienceMs: fc.oneof(fc.constant(Infinity), fc.nat(90_000)),
  outlook: fc.option(fc.record({ durationMs: fc.nat(20_000), share: fc.nat(100) }), { nil: null }),
  which: fc.nat(10_000),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Run {
  readonly desk = new Desk();
  readonly waiting: Asked[] = [];
  readonly leases: { lease: Lease; path: Path }[] = [];
  readonly #all: Asked[] = [];

  async play({
    gapMs,
    what,
    path: pathIndex,
    amount,
    priority,
    patienceMs,
    outlook,
    which,
  }: Step): Promise<void> {
    await this.desk.pass(gapMs);
    this.sortOut();
    const pick = this.leases[which % Math.max(1, this.leases.length)];
    if (what === "ask") this.#ask(paths[pathIndex] ?? [], amount, priority, patienceMs, outlook);
    else if (what === "reload") {
      const name = (["pace", "wide", "slots", "alone"] as const)[which % 4] ?? "pace";
      this.desk.path(accounts[name][amount % 2] as AccountSpec);
      this.desk.scheduler.replan();
    } else if (what === "leave")
      this.waiting[which % Math.max(1, this.waiting.length)]?.signal.abort();
    else if (pick !== undefined) {
      if (what === "commit") pick.lease.commit(tokens(amount >> 1));
      else pick.lease[what]();
      if (!pick.lease.open) this.leases.splice(this.leases.indexOf(pick), 1);
    }
    await this.desk.pass();
    this.sortOut();
  }

  #ask(
    names: readonly Name[],
    amount: number,
    priority: Priority,
    patienceMs: number,
    outlook: Step["outlook"],
  ): void {
    const known = new Map([...this.desk.ledger.accounts()].map(({ name, spec }) => [name, spec]));
    const path = this.desk.path(
      ...names.map((name) => known.get(name) ?? (accounts[name][0] as AccountSpec)),
    );
    const signal = new AbortController();
    const cost = tokens(Math.floor((amount * (outlook?.share ?? 0)) / 100));
    const asked = this.desk.ask(path, {
      amount,
      priority,
      patienceMs,
      signal: signal.signal,
      outlook: outlook === null ? null : { durationMs: outlook.durationMs, cost },
    });
    const deadlineAt = this.desk.clock.now() + patienceMs;
    this.#all.push({ asked, path, amount, priority, seq: this.#all.length, deadlineAt, signal });
    this.waiting.push(this.#all.at(-1) as Asked);
  }

  /** Moves those that have ended out of the list of those that wait. */
  sortOut(): void {
    for (const one of this.waiting.slice()) {
      const { fate } = one.asked;
      if (fate.state === "waiting") continue;
      this.waiting.splice(this.waiting.indexOf(one), 1);
      if (fate.state === "granted") this.leases.push({ lease: fate.lease, path: one.path });
    }
  }

  get asked(): number {
    return this.#all.length;
  }
}

/** Nothing is more charged than it may be, unless a reload has just lowered it. */
function checkLimits({ desk, leases }: Run): void {
  const now = desk.clock.now();
  for (const { name, limits } of desk.ledger.accounts()) {
    for (const limit of limits) {
      const { used, reserved, remaining } = limit.usage(now);
      expect(Math.min(used, reserved, remaining)).toBeGreaterThanOrEqual(0);
    }
    if (name !== "slots") continue;
    const running = leases.filter(({ path }) => path.accounts.some((one) => one.name === name));
    expect(running.length).toBeLessThanOrEqual(3);
  }
}

/** The best of each group does not fit, and there is a timer no later than when it does or somebody's time is up. */
function checkPlans({ desk, waiting }: Run): void {
  const now = desk.clock.now();
  expect(desk.scheduler.waiting).toBe(waiting.length);
  for (const group of Object.values(Object.groupBy(waiting, ({ path }) => path.group))) {
    const best = (group ?? []).toSorted(
      (a, b) => priorities[a.priority] - priorities[b.priority] || a.seq - b.seq,
    )[0] as Asked;
    expect(fits(best.path.limits, tokens(best.amount), now)).toBe(false);
    expect(desk.clock.nextAt).toBeLessThanOrEqual(
      worstStart(best.path.limits, tokens(best.amount), now),
    );
    for (const { deadlineAt } of group ?? [])
      expect(desk.clock.nextAt).toBeLessThanOrEqual(deadlineAt);
  }
  if (waiting.length === 0) expect(desk.clock.pending).toBe(0);
  expect(desk.clock.pending).toBeLessThanOrEqual(2);
}

test("whatever happens: no limit is passed, no start is missed, everybody ends once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 150, size: "max" }),
      async (steps) => {
        const run = new Run();
        for (const one of steps) {
          await run.play(one);
          checkLimits(run);
          checkPlans(run);
        }
        run.desk.scheduler.drain(30_000);
        await run.desk.pass(30_000);
        run.sortOut();
        expect(run.waiting.length).toBe(0);
        expect(run.desk.scheduler.waiting).toBe(0);
        expect(run.desk.scheduler.waitingBytes).toBe(0);
        expect(run.desk.clock.pending).toBe(0);
        expect(run.desk.ends.size).toBe(run.asked);
        expect([...run.desk.ends.values()].every((times) => times === 1)).toBe(true);
        for (const { waiting } of run.desk.ledger.accounts()) expect(waiting).toBe(0);
      },
    ),
    // Shrinking so long a story takes longer than a test may.
    { numRuns: 60, endOnFailure: true },
  );
});
