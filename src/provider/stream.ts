import { addDeltas, estimateTokens } from "./delta.ts";
import type { SeenText } from "./delta.ts";
import type { StreamMeter, Usage } from "./dialect.ts";
import { createElementFollower } from "./json-array.ts";
import type { OnEvent, OnLongEvent } from "./partial.ts";
import { Gathering } from "./gather.ts";
import { hasObject, objectAt, parsed } from "./scan.ts";
import { createLineFollower } from "./sse.ts";

/** What can be told of an event by a glance at its text. */
export interface EventKind {
  /** What ends with these and is followed by a string is text the model wrote: `"content":`; see `textKeys`. */
  readonly textKeys: readonly Buffer[];
  /** Whether it has nothing but text, so that it need not be searched for more. */
  readonly isPlain: boolean;
  /** Whether it is the stream's last, if all goes well. */
  readonly isLast: boolean;
}

/** What differs between dialects in following their streams. */
export interface StreamFormat {
  /** Key of the object with usage. */
  usageKey: string;
  /**
   * A JSON string without which an event says nothing of a cap that was reached, null where the events that do are
   * parsed anyway, for their usage or as the last.
   */
  lengthMark: string | null;
  /** Gets an event as Latin-1, or one end of a long one. Called for every event: it must be cheap. */
  kindOf(event: string): EventKind;
  /**
   * What tells whole events that say nothing but text, so that many are looked at together; absent where they cannot
   * be told. They have none of `marks`, and no object with usage.
   */
  plain?: { readonly marks: readonly Buffer[]; readonly textKeys: readonly Buffer[] };
  /** The usage known after an event that has some, given what was known before it. */
  usageAfter(event: unknown, before: Usage | null): Usage | null;
  /** Whether an event says that the answer stopped because its cap was reached. */
  stoppedForLength(event: unknown): boolean;
  /**
   * Whether an event has all usage and says that the model has ended, so that the answer is whole though its last event
   * never comes, unless text follows; absent where servers always send the last.
   */
  isWhole?(event: unknown): boolean;
  /** Whether an event is an error that ends the stream. */
  isError(event: unknown): boolean;
}

/** How bytes reach what cuts them into events, and whoever counts text. */
type Framing = (onEvent: OnEvent, onLong: OnLongEvent, seen: SeenText) => Framed;

interface Framed {
  readonly push: (chunk: Uint8Array) => void;
  /** Hands on what was gathered. */
  readonly flush: () => void;
}

/**
 * Makes meters that follow server-sent events in `format`. What several of them read is looked at together.
 * @param blockBytes how much of it
 */
export function streamFollower(format: StreamFormat, blockBytes = 32_768): () => StreamMeter {
  const make = (): Gathering => {
    const usageMark = Buffer.from(`"${format.usageKey}"`);
    return new Gathering(blockBytes, format.plain ? { ...format.plain, usageMark } : null);
  };
  // Made for the first stream: few programs speak to all providers.
  let made: Gathering | null = null;
  return () => {
    const gathering = (made ??= make());
    return follow(format, (onEvent, onLong, seen) => {
      const stream = { seen, follow: createLineFollower(onEvent, onLong), isWithin: false };
      return {
        push: (chunk) => gathering.push(stream, chunk),
        flush: () => gathering.flush(),
      };
    });
  };
}

/** Follows a JSON array of events in `format`. */
export function followJsonArray(format: StreamFormat): StreamMeter {
  return follow(format, (onEvent, onLong) => ({
    push: createElementFollower(onEvent, onLong),
    flush: () => undefined,
  }));
}

/** Of most events only the length of the text is taken; those that say more are parsed. */
function follow(format: StreamFormat, framing: Framing): StreamMeter {
  const { usageKey, lengthMark } = format;
  const usageMark = `"${usageKey}"`;
  const seen: SeenText = { pieces: 0, ascii: 0, other: 0 };
  let usage: Usage | null = null;
  let finished = false;
  let failed = false;
  let stoppedForLength = false;
  /** How many pieces of text there were when the answer seemed whole; -1 before. */
  let wholeAt = -1;

  const onEvent: OnEvent = (bytes, start, end) => {
    const event = bytes.subarray(start, end);
    const text = event.toString("latin1");
    const { textKeys, isPlain, isLast } = format.kindOf(text);
    addDeltas(seen, event, textKeys);
    if (isPlain) return;
    if (isLast) finished = true;
    if (
      isLast ||
      hasObject(text, usageMark) ||
      hasError(text) ||
      (lengthMark !== null && text.includes(lengthMark))
    ) {
      read(parsed(bytes.toString("utf8", start, end)));
    }
  };
  const read = (event: unknown): void => {
    usage = format.usageAfter(event, usage);
    if (format.stoppedForLength(event)) stoppedForLength = true;
    if (format.isWhole?.(event) === true) wholeAt = seen.pieces;
    if (format.isError(event)) finished = failed = true;
  };
  const onLong: OnLongEvent = (head, tail) => {
    if (format.kindOf(head).isLast || format.kindOf(tail).isLast) finished = true;
    const found = objectAt(tail, usageKey);
    if (found !== null) usage = format.usageAfter({ [usageKey]: found }, usage);
  };

  const { push, flush } = framing(onEvent, onLong, seen);
  return {
    push,
    end() {
      // A last line without a line end is still an answer's last line.
      push(lineEnd);
      flush();
      if (wholeAt === seen.pieces) finished = true;
      const outputTokensSeen = estimateTokens(seen);
      return {
        usage: finished && !failed ? usage : atLeast(usage, outputTokensSeen),
        outputTokensSeen,
        finished,
        failed,
        stoppedForLength,
      };
    },
  };
}

const lineEnd = Uint8Array.of(0x0a);

/** Whether an event may be an error: `"error"` as a value, or as a key whose value is not null. */
function hasError(text: string): boolean {
  for (let at = text.indexOf('"error"'); at !== -1; at = text.indexOf('"error"', at)) {
    at += 7;
    while (text.charCodeAt(at) === 0x20) at++;
    if (text.charCodeAt(at) !== 0x3a) return true;
    at++;
    while (text.charCodeAt(at) === 0x20) at++;
    if (text.charCodeAt(at) !== 0x6e) return true;
  }
  return false;
}

/** In a stream that broke off, the provider had written at least what passed. */
function atLeast(usage: Usage | null, output: number): Usage | null {
  if (usage === null || usage.output >= output) return usage;
  return { ...usage, output, total: Math.max(usage.total, usage.input + output) };
}
