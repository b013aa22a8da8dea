import { systemClock } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { UsageError } from "../errors.ts";
import type { StreamUsage } from "./call.ts";
import { limitNames, limitsFrom } from "./limit.ts";
import type { Algorithm, Limit, LimitName } from "./limit.ts";
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
  [Name in Exclude<keyof MockSettings, "limits">]?: MockSettings[Name] | undefined;
} & { [Name in LimitName]?: number | undefined };

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
  chunkIntervalMs: 10,
  tokensPerChunk: 20,
  seed: 1,
  windowMs: 60_000,
} as const satisfies Omit<MockSettings, "limits" | "algorithm" | "streamUsage" | "clock">;

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
  const profile = profiles[name];
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  const values = { ...profile.limits, ...limitValues(options) };
  const settings: MockSettings = {
    ...mockDefaults,
    algorithm: profile.algorithm,
    streamUsage: profile.streamUsage,
    clock: systemClock(),
    ...given,
    limits: limitsFrom(values, options.windowMs ?? mockDefaults.windowMs),
  };
  check(settings);
  return settings;
}

/** The limits that were given. A limit of 0 turns the profile's own off. */
function limitValues(options: MockOptions): Partial<Record<LimitName, number | undefined>> {
  const values: Partial<Record<LimitName, number | undefined>> = {};
  for (const name of Object.keys(limitNames) as LimitName[]) {
    const value = options[name];
    if (value === undefined) continue;
    requireThat(value >= 0, name, value, "a number from 0 (0 means no limit)");
    values[name] = value > 0 ? value : undefined;
  }
  return values;
}

function check(settings: MockSettings): void {
  const { port, burst, latencyMs, jitterMs, outputFraction, errorRate, errorStatus } = settings;
  const isPort = Number.isInteger(port) && port >= 0 && port <= 65_535;
  const isStatus = Number.isInteger(errorStatus) && errorStatus >= 400 && errorStatus <= 599;
  requireThat(isPort, "port", port, "a port from 0 to 65535");
  requireThat(burst === undefined || burst >= 1, "burst", burst, "a number from 1");
  requireThat(latencyMs >= 0, "latency", latencyMs, "a duration");
  requireThat(jitterMs >= 0, "jitter", jitterMs, "a duration");
  requireThat(errorRate >= 0 && errorRate <= 1, "error rate", errorRate, "a share from 0 to 1");
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
