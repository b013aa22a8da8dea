import { systemClock } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { UsageError } from "../errors.ts";
import type { StreamUsage } from "./call.ts";
import { readExternalRate } from "./external-load.ts";
import type { ExternalRate } from "./external-load.ts";
import { limitNames, limitsFrom } from "./limit.ts";
import type { Algorithm, Limit, LimitName, LimitValues } from "./limit.ts";
import type { Profile, Settling } from "./profile.ts";
import { isProfileName, profiles } from "./profiles.ts";
import type { ProfileName } from "./profiles.ts";

/** When within its latency a request is counted: at once, or at a random moment, as a distant provider may. */
type CountAt = "arrival" | "random";

/** How a simulated provider behaves, everything decided. Durations in milliseconds. */
export interface MockSettings {
  profile: ProfileName;
  host: string;
  /** 0 picks a free one. */
  port: number;
  algorithm: Algorithm;
  limits: readonly Limit[];
  /** What the limits were made from: the profile's own and the user's. */
  limitValues: LimitValues;
  /** Capacity of request buckets; undefined: the limit. */
  burst: number | undefined;
  /** From arrival to the answer, or to the first byte of a stream: uniform in latency ± jitter. */
  latencyMs: number;
  jitterMs: number;
  countAt: CountAt;
  /** Output tokens where `outputFraction` does not decide: log-normal, at most the client's bound. */
  outputMean: number;
  outputDeviation: number;
  /** Output as a share of the client's bound, where it sets one. */
  outputFraction: number | undefined;
  /** Reserved for the output of a call that sets no bound. */
  assumedOutputTokens: number;
  /** Share of admitted calls answered with `errorStatus`. */
  errorRate: number;
  errorStatus: number;
  /** Share of admitted calls whose connection is closed before the answer; they are charged in full. */
  resetRate: number;
  /** Share of admitted calls that are never answered. */
  stallRate: number;
  /** Share of admitted calls whose answer, where it is a stream, is cut in the middle. */
  cutRate: number;
  /** For this long from the first request on, every request is answered with `errorStatus`. */
  refuseForMs: number;
  /** Whether the account has no credit. */
  insufficientQuota: boolean;
  /** Someone else on the same key; null where nobody is. */
  externalRate: ExternalRate | null;
  /** Input tokens of each of their requests. */
  externalPrompt: number;
  settling: Settling;
  chunkIntervalMs: number;
  tokensPerChunk: number;
  streamUsage: StreamUsage;
  seed: number;
  /** Length of a minute, and of hours and days with it. */
  windowMs: number;
  clock: Clock;
}

/** What a caller may decide; the limits by their short names. `undefined` means the default. */
export type MockOptions = {
  [Name in Exclude<keyof MockSettings, Decided>]?: MockSettings[Name] | undefined;
} & { [Name in LimitName]?: number | undefined } & {
  /** Requests a minute, or a share of the limit such as `20%`. */
  externalLoad?: string | number | undefined;
};

/** Settings that are made from other options. */
type Decided = "limits" | "limitValues" | "externalRate";
/** Settings whose default is the profile's, or none. */
type Varying = Decided | "algorithm" | "streamUsage" | "settling" | "clock";

/** The defaults that do not depend on the profile; `cooldown mock --help` shows them. */
export const mockDefaults = {
  profile: "cerebras",
  host: "127.0.0.1",
  port: 9000,
  burst: undefined,
  latencyMs: 200,
  jitterMs: 100,
  countAt: "arrival",
  outputMean: 256,
  outputDeviation: 128,
  outputFraction: undefined,
  assumedOutputTokens: 4096,
  errorRate: 0,
  errorStatus: 500,
  resetRate: 0,
  stallRate: 0,
  cutRate: 0,
  refuseForMs: 0,
  insufficientQuota: false,
  externalPrompt: 256,
  chunkIntervalMs: 10,
  tokensPerChunk: 20,
  seed: 1,
  windowMs: 60_000,
} as const satisfies Omit<MockSettings, Varying>;

/**
 * Fills in defaults and checks values.
 *
 * @throws UsageError on the first value that makes no sense.
 */
export function resolveOptions(options: MockOptions): MockSettings {
  const name: string = options.profile ?? mockDefaults.profile;
  if (!isProfileName(name)) {
    throw new UsageError(
      `No profile "${name}": choose one of ${Object.keys(profiles).join(", ")}.`,
    );
  }
  const profile: Profile = profiles[name];
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  const minuteMs = options.windowMs ?? mockDefaults.windowMs;
  const values = { ...profile.limits, ...readLimits(options) };
  const settings: MockSettings = {
    ...mockDefaults,
    algorithm: profile.algorithm,
    streamUsage: profile.streamUsage,
    settling: profile.settling,
    clock: systemClock(),
    ...given,
    externalRate:
      options.externalLoad === undefined ? null : readExternalRate(options.externalLoad),
    limitValues: values,
    limits: limitsOf(profile, values, minuteMs),
  };
  check(settings, profile);
  return settings;
}

/** The limits that `values` make, with those that the profile derives from them. */
export function limitsOf(profile: Profile, values: LimitValues, minuteMs: number): Limit[] {
  return limitsFrom({ ...profile.derivedLimits?.(values), ...values }, minuteMs);
}

/**
 * The limits among `options`. A limit of 0 turns the profile's own off.
 *
 * @throws UsageError where one is no number from 0.
 */
export function readLimits(options: LimitValues): LimitValues {
  const values: LimitValues = {};
  for (const name of Object.keys(limitNames) as LimitName[]) {
    const value = options[name];
    if (value === undefined) continue;
    const isLimit = Number.isFinite(value) && value >= 0;
    requireThat(isLimit, name, value, "a number from 0 (0 means no limit)");
    values[name] = value > 0 ? value : undefined;
  }
  return values;
}

function check(settings: MockSettings, profile: Profile): void {
  const { port, burst, latencyMs, jitterMs, outputFraction, errorRate, errorStatus } = settings;
  const isPort = Number.isInteger(port) && port >= 0 && port <= 65_535;
  const isStatus = Number.isInteger(errorStatus) && errorStatus >= 400 && errorStatus <= 599;
  requireThat(isPort, "port", port, "a port from 0 to 65535");
  requireThat(burst === undefined || burst >= 1, "burst", burst, "a number from 1");
  requireThat(latencyMs >= 0, "latency", latencyMs, "a duration");
  requireThat(jitterMs >= 0, "jitter", jitterMs, "a duration");
  const { resetRate, stallRate, cutRate, externalPrompt, refuseForMs } = settings;
  const faultRate = resetRate + stallRate + cutRate;
  for (const [name, share] of [
    ["error rate", errorRate],
    ["reset rate", resetRate],
    ["stall rate", stallRate],
    ["cut rate", cutRate],
    ["sum of reset, stall and cut rate", faultRate],
  ] as const) {
    requireThat(share >= 0 && share <= 1, name, share, "a share from 0 to 1");
  }
  requireThat(refuseForMs >= 0, "refuse for", refuseForMs, "a duration");
  requireThat(externalPrompt >= 0, "external prompt", externalPrompt, "a number from 0");
  requireThat(
    !settings.insufficientQuota || profile.outOfCredit !== null,
    "insufficient quota",
    settings.profile,
    "a profile that has such an answer (openai, anthropic)",
  );
  requireThat(
    settings.externalRate?.kind !== "share" || settings.limits.length > 0,
    "external load",
    "a share",
    "a number of requests where there is no limit",
  );
  requireThat(isStatus, "error status", errorStatus, "a status from 400 to 599");
  requireThat(
    outputFraction === undefined || (outputFraction >= 0 && outputFraction <= 1),
    "output fraction",
    outputFraction,
    "a share from 0 to 1",
  );
  requireThat(
    settings.tokensPerChunk >= 1,
    "chunk tokens",
    settings.tokensPerChunk,
    "a number from 1",
  );
  requireThat(settings.windowMs > 0, "window", settings.windowMs, "a duration above 0");
}

function requireThat(holds: boolean, what: string, value: unknown, allowed: string): void {
  if (!holds) throw new UsageError(`${what} is ${String(value)}: it must be ${allowed}.`);
}
