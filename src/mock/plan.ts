import type { Call } from "./call.ts";
import type { Hints } from "./hints.ts";
import type { MockSettings } from "./options.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";

export type MeteredCall = Exclude<Call, { kind: "free" }>;

/** What chance and hints decide about one call before it starts. */
export interface Plan {
  promptTokens: number;
  reservedTokens: number;
  outputTokens: number;
  latencyMs: number;
  /** From arrival to the moment when the quota counts the call; at most the latency. */
  countAfterMs: number;
  /** Status to answer with instead of the call's own. */
  status: number | null;
}

/** Draws a call's course: always the same numbers in the same order, so that hints shift no others. */
export function planCall(
  settings: MockSettings,
  profile: Profile,
  call: MeteredCall,
  hints: Hints,
  random: Random,
): Plan {
  const { jitterMs, errorRate, outputFraction, outputMean, outputDeviation } = settings;
  const drawnLatencyMs = settings.latencyMs + (random.uniform() * 2 - 1) * jitterMs;
  const countShare = random.uniform();
  const fails = random.uniform() < errorRate;
  const drawnOutput = random.logNormal(outputMean, outputDeviation);

  const latencyMs = hints.latencyMs ?? Math.max(0, drawnLatencyMs);
  const promptTokens = hints.promptTokens ?? call.promptTokens;
  const bound = call.kind === "generation" ? call.maxOutputTokens : 0;
  const wished =
    bound !== null && outputFraction !== undefined ? bound * outputFraction : drawnOutput;
  return {
    promptTokens,
    reservedTokens: profile.reservedTokens({ ...call, promptTokens }, settings.assumedOutputTokens),
    outputTokens: Math.min(bound ?? Infinity, hints.outputTokens ?? Math.round(wished)),
    latencyMs,
    countAfterMs: settings.countAt === "random" ? countShare * latencyMs : 0,
    status: hints.status ?? (fails ? settings.errorStatus : null),
  };
}
