import type { MeteredCall } from "./call.ts";
import type { Hints } from "./hints.ts";
import type { Cost } from "./limit.ts";
import type { MockSettings } from "./options.ts";
import type { Profile, Settling } from "./profile.ts";
import type { Random } from "./random.ts";

/** How an admitted call goes on. A `cut` is an answer that ends in the middle, if it is a stream. */
export type Fate = "answer" | "reset" | "stall" | "cut";

/** What chance and hints decide about one call before it starts. */
export interface Plan {
  promptTokens: number;
  /** What is taken from each limit at admission. */
  reserved: Cost;
  outputTokens: number;
  latencyMs: number;
  /** From arrival to the moment when the quota counts the call; at most the latency. */
  countAfterMs: number;
  /** Status to answer with instead of the call's own. */
  status: number | null;
  fate: Fate;
  /** What the call stays counted at once it has made `outputTokens`. */
  finalCost(outputTokens: number): Cost;
  /** What a call that failed stays counted at. */
  failedCost: Cost;
}

/** Draws a call's course: always the same numbers in the same order, so that hints shift no others. */
export function planCall(
  settings: MockSettings,
  profile: Profile,
  call: MeteredCall,
  hints: Pick<Hints, "outputTokens" | "latencyMs" | "status">,
  random: Random,
): Plan {
  const { errorRate, outputFraction, outputMean, outputDeviation } = settings;
  const drawnLatencyMs = drawLatencyMs(settings, random);
  const countShare = random.uniform();
  const fails = random.uniform() < errorRate;
  const drawnOutput = random.logNormal(outputMean, outputDeviation);
  const drawnFate = random.uniform();

  const latencyMs = hints.latencyMs ?? drawnLatencyMs;
  const bound = call.kind === "generation" ? call.maxOutputTokens : 0;
  const wished =
    bound !== null && outputFraction !== undefined ? bound * outputFraction : drawnOutput;
  return {
    promptTokens: call.promptTokens,
    ...costs(call, profile, settings.settling, settings.assumedOutputTokens),
    outputTokens: Math.min(bound ?? Infinity, hints.outputTokens ?? Math.round(wished)),
    latencyMs,
    countAfterMs: settings.countAt === "random" ? countShare * latencyMs : 0,
    status: hints.status ?? (fails ? settings.errorStatus : null),
    fate: fateAt(settings, drawnFate),
  };
}

/** Milliseconds to the answer: a call's first draw. */
export function drawLatencyMs({ latencyMs, jitterMs }: MockSettings, random: Random): number {
  return Math.max(0, latencyMs + (random.uniform() * 2 - 1) * jitterMs);
}

/** One number decides between the faults, so that none of them shifts the others' draws. */
function fateAt({ resetRate, stallRate, cutRate }: MockSettings, drawn: number): Fate {
  if (drawn < resetRate) return "reset";
  if (drawn < resetRate + stallRate) return "stall";
  return drawn < resetRate + stallRate + cutRate ? "cut" : "answer";
}

/**
 * What a call costs at admission and in the end. Output tokens are in neither: they are counted as they are
 * produced, and never revised.
 */
export function costs(
  call: MeteredCall,
  profile: Profile,
  settling: Settling,
  assumedOutputTokens: number,
): Pick<Plan, "reserved" | "finalCost" | "failedCost"> {
  const tokens = profile.reservedTokens(call, assumedOutputTokens);
  const { promptTokens } = call;
  const paidPrompt = promptTokens - (profile.cachedIsFree ? call.cachedTokens : 0);
  const reserved: Cost = {
    requests: 1,
    tokens,
    total_tokens: tokens,
    input_tokens: promptTokens,
  };
  if (settling === "reserved") return { reserved, finalCost: () => ({}), failedCost: {} };
  return {
    reserved,
    finalCost: (output) => ({
      tokens: paidPrompt + output,
      total_tokens: promptTokens + output,
      input_tokens: paidPrompt,
    }),
    failedCost: { tokens: 0, total_tokens: 0, input_tokens: 0 },
  };
}
