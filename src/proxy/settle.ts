import type { Cost } from "../limit/cost.ts";
import type { Dialect, Usage } from "../provider/dialect.ts";
import { isObject } from "../provider/body.ts";
import { collector, decoding } from "./decode.ts";
import type { SideReader } from "./decode.ts";
import type { Estimate } from "./estimate.ts";

/** Answers up to this size are parsed whole; of larger ones only the usage at their end is looked for. */
const largestParsed = 256 * 1024;
/** Larger answers are not read along. */
const largestCollected = 16 * 1024 * 1024;
/** About so many bytes of an answer's text are a token, where nothing better is known. */
const bytesPerToken = 4;

/** What an answer has turned out to cost. */
export interface Settlement {
  readonly charged: Readonly<Cost>;
  /** As reported; null where the cost had to be estimated. */
  readonly usage: Usage | null;
}

/**
 * A side reader that tells what the answer costs: from its `usage`, or where it has none from what passed.
 *
 * @param estimate the call's price
 * @param reserved what is charged so far: what stays where an answer cannot be read
 */
export function answerReader(
  dialect: Dialect,
  estimate: Estimate,
  reserved: Readonly<Cost>,
  headers: Headers,
): SideReader<Settlement> {
  const encoding = headers.get("content-encoding");
  const isStream = headers.get("content-type")?.startsWith("text/event-stream") === true;
  const reader = isStream
    ? decoding(encoding, streamReader(dialect, estimate))
    : decoding(encoding, jsonReader(dialect, estimate, reserved));
  return reader ?? { push: () => undefined, end: () => ({ charged: reserved, usage: null }) };
}

function streamReader(dialect: Dialect, estimate: Estimate): SideReader<Settlement> {
  const meter = dialect.follow();
  return {
    push: (chunk) => meter.push(chunk),
    end() {
      const { usage, outputTokensSeen } = meter.end();
      return usage === null
        ? { charged: estimate.chargeSeen(outputTokensSeen), usage: null }
        : { charged: estimate.charge(usage), usage };
    },
  };
}

function jsonReader(
  dialect: Dialect,
  estimate: Estimate,
  reserved: Readonly<Cost>,
): SideReader<Settlement> {
  const collected = collector(largestCollected);
  return {
    push: (chunk) => collected.push(chunk),
    end() {
      const bytes = collected.end();
      if (bytes === null) return { charged: reserved, usage: null };
      const usage = usageIn(dialect, bytes);
      if (usage !== null) return { charged: estimate.charge(usage), usage };
      return {
        charged: estimate.chargeSeen(Math.ceil(bytes.byteLength / bytesPerToken)),
        usage: null,
      };
    },
  };
}

/** The usage that a JSON answer reports, null where it reports none. */
function usageIn(dialect: Dialect, bytes: Uint8Array): Usage | null {
  const text = new TextDecoder().decode(bytes);
  if (text.length <= largestParsed) return dialect.usageOf(parsed(text));
  // Embeddings can be megabytes of numbers, with the usage behind them. A quote inside a JSON string is escaped, so
  // this cannot be found in one.
  const at = text.lastIndexOf('"usage"');
  if (at === -1) return null;
  const start = text.indexOf("{", at);
  for (
    let end = text.indexOf("}", start);
    start !== -1 && end !== -1;
    end = text.indexOf("}", end + 1)
  ) {
    const usage = parsed(text.slice(start, end + 1));
    if (isObject(usage)) return dialect.usageOf({ usage });
    if (end - start > largestParsed) return null;
  }
  return null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
