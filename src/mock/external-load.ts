import { UsageError } from "../errors.ts";
import type { MeteredCall } from "./call.ts";
import type { Limit } from "./limit.ts";
import type { MockSettings } from "./options.ts";
import { costs, planCall } from "./plan.ts";
import type { Profile } from "./profile.ts";
import type { Quota } from "./quota.ts";
import { randomFor } from "./random.ts";
import type { Tally } from "./tally.ts";

/** How much someone else sends on the same key. */
export type ExternalRate =
  | { kind: "requests"; perMinute: number }
  /** Of the limit that typical requests would fill first. */
  | { kind: "share"; share: number };

/**
 * Reads what `--external-load` takes: requests a minute, or a share of the limit such as `20%`.
 *
 * @throws UsageError when it is neither.
 */
export function readExternalRate(value: string | number): ExternalRate {
  const [, number, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(String(value).trim()) ?? [];
  if (number === undefined) {
    throw new UsageError(
      `external load is ${value}: it must be requests a minute, or a share such as 20%.`,
    );
  }
  return percent === "%"
    ? { kind: "share", share: Number(number) / 100 }
    : { kind: "requests", perMinute: Number(number) };
}

export interface ExternalLoad {
  /** Begins on the first call; further calls do nothing. */
  start(): void;
  stop(): void;
}

/** The account as it is now: a reset opens new books, and limits change while it runs. */
interface Account {
  quota: Quota;
  tally: Tally;
  limits: readonly Limit[];
}

/** Where nothing can be sent for now, when to look again. */
const idleMs = 1000;
/** Draws that have nothing to do with those of the clients' requests. */
const seedOffset = 0x6c6f_6164;
const hints = { outputTokens: null, latencyMs: null, status: null };

/**
 * Someone else on the same key: requests that arrive as a Poisson process and take from the same limits, each
 * with a prompt of the same size and an answer as long as the clients' are. Who is refused goes away.
 */
export function createExternalLoad(
  settings: MockSettings,
  profile: Profile,
  account: () => Account,
): ExternalLoad {
  const { clock, externalRate, externalPrompt, outputMean, outputDeviation, seed } = settings;
  const quiet = { ...settings, errorRate: 0, resetRate: 0, stallRate: 0, cutRate: 0 };
  const call = typicalCall(profile, externalPrompt, Math.ceil(outputMean + 2 * outputDeviation));
  let nextAt: number | null = null;
  let count = 0;
  let cancel = (): void => {};

  const arrive = (random: ReturnType<typeof randomFor>): void => {
    const { quota, tally } = account();
    const plan = planCall(quiet, profile, call, hints, random);
    const decision = quota.take(plan.reserved, clock.now());
    if (decision.kind === "refused") return tally.externalRefused();
    const entry = tally.externalAdmitted(plan.reserved, clock.now());
    clock.at(clock.now() + plan.latencyMs, () => {
      const now = clock.now();
      const cost = plan.finalCost(plan.outputTokens);
      decision.charge.revise(cost, now);
      decision.charge.add("output_tokens", plan.outputTokens, now);
      entry.revise(cost, now);
      entry.produced(plan.outputTokens, now);
      tally.externalUsed(plan.promptTokens + plan.outputTokens);
    });
  };

  const schedule = (from: number): void => {
    const random = randomFor(seed ^ seedOffset, count++);
    const share = random.uniform();
    const perMs = requestsPerMs(settings, profile, call, account().limits);
    nextAt = from + (perMs > 0 ? -Math.log(1 - share) / perMs : idleMs);
    cancel = clock.at(nextAt, () => {
      if (perMs > 0) arrive(random);
      // From when it was due, not from when the timer rang: lateness must not thin the load out.
      schedule(nextAt ?? clock.now());
    });
  };

  return {
    start() {
      if (externalRate !== null && nextAt === null) schedule(clock.now());
    },
    stop: () => cancel(),
  };
}

function typicalCall(profile: Profile, promptTokens: number, bound: number): MeteredCall {
  const prompt = { promptTokens, cachedTokens: 0, characters: promptTokens * 4 };
  return profile.units.length === 1
    ? { kind: "fixed", model: "", promptTokens: 0, cachedTokens: 0, characters: 0, body: "" }
    : {
        kind: "generation",
        model: "",
        ...prompt,
        maxOutputTokens: bound,
        body: () => "",
        frames: null,
      };
}

function requestsPerMs(
  { externalRate, windowMs, outputMean, settling, assumedOutputTokens }: MockSettings,
  profile: Profile,
  call: MeteredCall,
  limits: readonly Limit[],
): number {
  if (externalRate === null) return 0;
  if (externalRate.kind === "requests") return externalRate.perMinute / windowMs;
  const { reserved, finalCost } = costs(call, profile, settling, assumedOutputTokens);
  const output = call.kind === "fixed" ? 0 : outputMean;
  const typical = { ...reserved, ...finalCost(output), output_tokens: output };
  const rates = shareOf(limits).map(
    ({ unit, limit, windowMs }) => limit / windowMs / (typical[unit] ?? 0),
  );
  const lowest = Math.min(...rates);
  return Number.isFinite(lowest) ? externalRate.share * lowest : 0;
}

/** A share is meant of the minute, which is what people name; longer windows count where there is no shorter. */
function shareOf(limits: readonly Limit[]): readonly Limit[] {
  const short = limits.filter(({ window }) => window === "second" || window === "minute");
  return short.length > 0 ? short : limits;
}
