import { configureSync, getLogger } from "@logtape/logtape";
import type { LogRecord, Sink } from "@logtape/logtape";

import { jsonFormat, logLevels, prettyFormat } from "./line.ts";
import type { LogFields, LogLevel, RequestLine } from "./line.ts";
import { createOutlet, stderrWriter } from "./outlet.ts";
import type { Write } from "./outlet.ts";

export type { LogFields, LogLevel, RequestLine } from "./line.ts";

export type LogFormat = "auto" | "pretty" | "json";

/** The program's log: one line an event. A level that is off costs one comparison. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The line of a finished request, at level info. */
  request(line: RequestLine): void;
  /** Whether lines of `level` are written: for callers whose fields are costly to make. */
  enabled(level: LogLevel): boolean;
  /** Changes the level from here on: a reload may. */
  setLevel(level: LogLevel): void;
  /** Resolves when all lines so far are out, at the latest after a second: to be awaited before the exit. */
  flush(): Promise<void>;
}

export interface LogOptions {
  level: LogLevel;
  /** `auto` is pretty on a terminal and JSON elsewhere. */
  format: LogFormat;
  /** Where lines go; default standard error. */
  write?: (text: string) => void | Promise<void>;
  /** Whether `write` leads to a terminal; default: whether standard error does. */
  isTTY?: boolean;
  /** Default: whether the environment variable NO_COLOR is set (https://no-color.org). */
  noColour?: boolean;
  /** Milliseconds since the Unix epoch; default the wall clock, since a log is read beside other logs. */
  now?: () => number;
}

/**
 * LogTape has one configuration in a process. It is made once, with one sink that hands each record to the
 * log it came from, so that several logs (a test's, the demo's) do not take each other's place.
 */
const sinks = new Map<string, Sink>();

function connect(id: string, sink: Sink): void {
  if (sinks.size === 0) {
    configureSync({
      reset: true,
      sinks: { dispatch: (record) => sinks.get(record.category[1] ?? "")?.(record) },
      loggers: [
        { category: "cooldown", sinks: ["dispatch"], lowestLevel: "debug" },
        // LogTape's own words about itself: a failing sink here is a failing stderr, with nowhere to say so.
        { category: ["logtape", "meta"], sinks: [], lowestLevel: "fatal" },
      ],
    });
  }
  sinks.set(id, sink);
}

const tapeLevels = { debug: "debug", info: "info", warn: "warning", error: "error" } as const;

/** What travels in a record's properties. One key, because LogTape copies each property of each record. */
interface Payload {
  level: LogLevel;
  fields: LogFields | undefined;
}

/** Makes a log. Throws nothing; lines that cannot be written are dropped. */
export function createLog(options: LogOptions): Log {
  const isTTY = options.isTTY ?? (options.write === undefined && process.stderr.isTTY);
  const noColour = options.noColour ?? (process.env["NO_COLOR"] ?? "") !== "";
  const pretty = options.format === "pretty" || (options.format === "auto" && isTTY);
  const format = pretty ? prettyFormat(isTTY && !noColour) : jsonFormat();
  const now = options.now ?? Date.now;
  const { write } = options;
  const out = write === undefined ? stderrWriter() : asText(write);
  const outlet = createOutlet(out, (count) =>
    format.event(now(), "warn", "log lines dropped: the reader of this log is too slow", { count }),
  );

  const category = ["cooldown", String(sinks.size + 1)] as const;
  connect(category[1], (record: LogRecord) => {
    const { level, fields } = record.properties["payload"] as Payload;
    outlet.push(format.event(record.timestamp, level, String(record.rawMessage), fields));
  });
  const logger = getLogger(category);

  // `emit` instead of LogTape's `info(message)`: a brace in a message is no placeholder here, and a record
  // that already has its category is passed on without being copied.
  const emit = (level: LogLevel, message: string, fields: LogFields | undefined): void => {
    const record = {
      category,
      level: tapeLevels[level],
      message: [message],
      rawMessage: message,
      timestamp: now(),
      properties: { payload: { level, fields } satisfies Payload },
    };
    logger.emit(record);
  };

  let threshold = logLevels.indexOf(options.level);
  const at = (level: LogLevel) => {
    const rank = logLevels.indexOf(level);
    return (message: string, fields?: LogFields): void => {
      if (rank >= threshold) emit(level, message, fields);
    };
  };
  const infoRank = logLevels.indexOf("info");
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    request(line) {
      // Straight to the outlet: there is one for each request, and a logger's way would double its cost.
      if (infoRank >= threshold) outlet.push(format.request(now(), line));
    },
    enabled: (level) => logLevels.indexOf(level) >= threshold,
    setLevel(level) {
      threshold = logLevels.indexOf(level);
    },
    flush: () => outlet.flush(),
  };
}

function asText(write: (text: string) => void | Promise<void>): Write {
  return (bytes) => write(new TextDecoder().decode(bytes));
}
