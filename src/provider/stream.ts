import { addDeltas, estimateTokens } from "./delta.ts";
import type { SeenText } from "./delta.ts";
import type { StreamMeter, Usage } from "./dialect.ts";
import { createLineFollower } from "./sse.ts";

/** What differs between dialects in following their streams. */
export interface StreamFormat {
  /** Keys whose string values are text the model wrote, each as it stands before its value: `"content":`. */
  textKeys: readonly string[];
  /** Whether this `data:` line (as Latin-1) is the stream's last event. */
  isLast(line: string): boolean;
  /** The usage known after an event that has some, given what was known before it. */
  usageAfter(event: unknown, before: Usage | null): Usage | null;
}

/** Follows one stream in `format`. Of most events only the length of the text is taken; those with usage are parsed. */
export function followStream(format: StreamFormat): StreamMeter {
  const seen: SeenText = { events: 0, ascii: 0, other: 0 };
  let usage: Usage | null = null;
  let finished = false;

  const follow = createLineFollower((bytes, start, end) => {
    const line = bytes.toString("latin1", start, end);
    addDeltas(seen, line, format.textKeys);
    if (!finished && format.isLast(line)) finished = true;
    if (hasUsage(line)) usage = format.usageAfter(parse(bytes.toString("utf8", start, end)), usage);
  });

  return {
    push: follow,
    end() {
      // A last line without a line end is still an answer's last line.
      follow(lineEnd);
      const outputTokensSeen = estimateTokens(seen);
      return {
        usage: finished ? usage : atLeast(usage, outputTokensSeen),
        outputTokensSeen,
        finished,
      };
    },
  };
}

const lineEnd = Uint8Array.of(0x0a);

/**
 * Whether an event reports usage: a key `"usage"` with an object, not the `"usage":null` that many APIs put into
 * every event. Inside a JSON string the quotes would be escaped, so text that talks about usage does not match.
 */
function hasUsage(line: string): boolean {
  for (let at = line.indexOf('"usage"'); at !== -1; at = line.indexOf('"usage"', at)) {
    at += 7;
    while (line.charCodeAt(at) === 0x20) at++;
    if (line.charCodeAt(at) !== 0x3a) continue;
    at++;
    while (line.charCodeAt(at) === 0x20) at++;
    if (line.charCodeAt(at) === 0x7b) return true;
  }
  return false;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not for us to refuse: the client gets the bytes as they are.
    return null;
  }
}

/** In a stream that broke off, the provider had written at least what passed. */
function atLeast(usage: Usage | null, output: number): Usage | null {
  if (usage === null || usage.output >= output) return usage;
  return { ...usage, output, total: Math.max(usage.total, usage.input + output) };
}
