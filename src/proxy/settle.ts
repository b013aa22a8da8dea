import type { HeaderReader } from "../header-fields.ts";
import type { Cost } from "../limit/cost.ts";
import { readAnswer } from "../provider/answer.ts";
import type { Dialect, StreamMeter, Usage } from "../provider/dialect.ts";
import { collector, decoding } from "./decode.ts";
import type { SideReader } from "./decode.ts";
import type { Estimate } from "./estimate.ts";

/** Of larger answers only the end is kept. */
const largestCollected = 16 * 1024 * 1024;
/** Enough of it for the usage behind an embedding or an image. */
const tailBytes = 64 * 1024;
/** About so many bytes of an answer's text are a token, where nothing better is known. */
const bytesPerToken = 4;

/** What an answer has turned out to cost. */
export interface Settlement {
  readonly charged: Readonly<Cost>;
  /** What the provider goes on counting for it; see `Estimate.counted`. */
  readonly counted: Readonly<Cost>;
  /** As reported; null where the cost had to be estimated. */
  readonly usage: Usage | null;
  /** Whether the answer stopped because its cap on output was reached. */
  readonly stoppedForLength: boolean;
  /** Whether it ended as the provider meant it to, so that its length says something about others. */
  readonly sound: boolean;
}

/**
 * A side reader that tells what the answer costs: from its `usage`, or where it has none from what passed.
 *
 * @param estimate the call's price
 * @param reserved what is charged so far: what stays where an answer cannot be read
 * @param streamed whether the client asked for the answer in parts
 */
export function answerReader(
  dialect: Dialect,
  estimate: Estimate,
  reserved: Readonly<Cost>,
  headers: HeaderReader,
  streamed: boolean,
): SideReader<Settlement> {
  // Types are the same in any case (RFC 9110 §8.3.1).
  const isStream = /^text\/event-stream/i.test(headers.get("content-type") ?? "");
  const meter = isStream ? dialect.follow() : streamed ? dialect.followJson?.() : undefined;
  const inHeaders = dialect.usageInHeaders?.(headers) ?? null;
  const inner =
    meter === undefined
      ? jsonReader(dialect, estimate, reserved, inHeaders)
      : streamReader(meter, estimate, inHeaders);
  // What was not seen of an answer may have cost more than what was.
  const partly = async (read: Settlement | Promise<Settlement>): Promise<Settlement> => {
    const settlement = await read;
    const isTold = settlement.usage !== null || (meter !== undefined && settlement.sound);
    return isTold ? settlement : unread(reserved, estimate, inHeaders);
  };
  const reader = decoding(headers.get("content-encoding"), inner, partly);
  return reader ?? { push: () => undefined, end: () => unread(reserved, estimate, inHeaders) };
}

/** Where an answer's body tells nothing: its headers, or else what was reserved. */
function unread(reserved: Readonly<Cost>, estimate: Estimate, usage: Usage | null): Settlement {
  return {
    ...costOf(estimate, usage, () => reserved),
    usage,
    stoppedForLength: false,
    sound: false,
  };
}

/** What an answer costs by its usage, or where it has none as `otherwise` says. */
function costOf(
  estimate: Estimate,
  usage: Usage | null,
  otherwise: () => Readonly<Cost>,
): Pick<Settlement, "charged" | "counted"> {
  if (usage !== null) return { charged: estimate.charge(usage), counted: estimate.counted(usage) };
  const charged = otherwise();
  return { charged, counted: charged };
}

function streamReader(
  meter: StreamMeter,
  estimate: Estimate,
  inHeaders: Usage | null,
): SideReader<Settlement> {
  return {
    push: meter.push,
    end() {
      const { usage: seen, outputTokensSeen, stoppedForLength, finished, failed } = meter.end();
      const usage = seen ?? inHeaders;
      return {
        ...costOf(estimate, usage, () => estimate.chargeSeen(outputTokensSeen)),
        usage,
        stoppedForLength,
        sound: finished && !failed,
      };
    },
  };
}

function jsonReader(
  dialect: Dialect,
  estimate: Estimate,
  reserved: Readonly<Cost>,
  inHeaders: Usage | null,
): SideReader<Settlement> {
  const collected = collector(largestCollected, tailBytes);
  return {
    push: (chunk) => collected.push(chunk),
    end() {
      const { bytes, isWhole } = collected.end();
      const { usage: seen, stoppedForLength } = readAnswer(dialect, bytes, isWhole);
      if (seen === null && !isWhole) return unread(reserved, estimate, inHeaders);
      const usage = seen ?? inHeaders;
      const estimated = Math.ceil(bytes.byteLength / bytesPerToken);
      return {
        ...costOf(estimate, usage, () => estimate.chargeSeen(estimated)),
        usage,
        stoppedForLength,
        sound: true,
      };
    },
  };
}
