/** The levels of the log, least important first. */
export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

/** What a line may carry besides its message. An `Error` is written as its message, never its stack. */
export type LogFields = Readonly<Record<string, unknown>>;

/** The one line that every proxied request leaves (contract, section 8). Null is "does not apply here". */
export interface RequestLine {
  request_id: string;
  /** The client's name, such as `key:ci` or `ip:127.0.0.1`; never a key. */
  client: string;
  upstream: string;
  method: string;
  /** Without the query; one that is still there is cut off. */
  path: string;
  status: number;
  model: string | null;
  tokens_reserved: number | null;
  tokens_charged: number | null;
  /** Milliseconds waited for quota. */
  wait_ms: number;
  /** Milliseconds from dispatch to the upstream's first byte; null where nothing was sent. */
  upstream_ms: number | null;
  total_ms: number;
  outcome: string;
}

/** One event, formatted to one line that ends with a newline. `time` is milliseconds since the Unix epoch. */
export interface LineFormat {
  event(time: number, level: LogLevel, message: string, fields: LogFields | undefined): string;
  request(time: number, line: RequestLine): string;
}

/**
 * Characters that could end a line, move a terminal's cursor or reorder what is shown: C0, DEL, C1, the
 * Unicode line separators and the bidirectional overrides. A client chooses paths and model names, so each
 * of them may be an attempt to forge a line.
 */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;
/** The same without C0: `JSON.stringify` has escaped those already. */
const unsafeInJson = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Passwords in URLs, bearer tokens and keys in the usual form: messages of libraries may quote them. */
const secrets: readonly (readonly [RegExp, string])[] = [
  [/(\/\/[^\s/@:]*):[^\s/@]*@/g, "$1:***@"],
  [/\b(bearer|basic)\s+[\w.~+/=-]{6,}/gi, "$1 ***"],
  [/\b(c?sk|gsk|pk|ghp|xai)[-_][\w-]{12,}/g, "$1-***"],
];
const secretKey = /authorization|api[-_]?key|password|secret|cookie|(^|[-_])token$/i;

function hideSecrets(text: string): string {
  return secrets.reduce((shown, [pattern, stars]) => shown.replace(pattern, stars), text);
}

/** A field as it may be written: errors as their message, anything that looks like a secret as stars. */
function presentable(key: string, value: unknown): unknown {
  if (secretKey.test(key) && value !== null && value !== undefined) return "***";
  if (typeof value === "string") return hideSecrets(value);
  if (typeof value === "number") return round(value);
  if (value instanceof Error) return hideSecrets(value.message);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  // Through JSON once, so that keys at any depth pass the same rules and a cycle cannot take the log down.
  try {
    return JSON.parse(
      JSON.stringify(value, (inner, part: unknown) =>
        typeof part === "object" && !(part instanceof Error) && !secretKey.test(inner)
          ? part
          : presentable(inner, part),
      ),
    ) as unknown;
  } catch {
    return "[not serialisable]";
  }
}

/** Three decimals: a microsecond in a figure of milliseconds. */
function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** Three decimals of a number, for each thousandth: as JSON writes it, none where there is nothing behind the point. */
const thousandths = Array.from({ length: 1_000 }, (_, n) => String(n / 1_000).slice(1));

/** The same as JSON writes `round(ms)`, put together from parts: a number with a fraction costs most of a line. */
function written(ms: number): string {
  const thousand = Math.round(ms * 1_000);
  const whole = Math.floor(thousand / 1_000);
  return thousand >= 0 && whole < mostWhole
    ? whole + (thousandths[thousand - whole * 1_000] ?? "")
    : String(round(ms));
}

/** Beyond this a number may be written with an exponent, and a thousandth is lost anyway. */
const mostWhole = 1e9;

/** `Date.toISOString` costs more than the rest of a line's head; the part up to the second is kept. */
function isoClock(): (time: number) => string {
  let shown = Number.NaN;
  let second = Number.NaN;
  let head = "";
  let text = "";
  return (time) => {
    const ms = Math.floor(time);
    if (ms === shown) return text;
    shown = ms;
    const now = Math.floor(ms / 1000);
    if (now !== second) {
      second = now;
      head = new Date(now * 1000).toISOString().slice(0, 20);
    }
    text = `${head}${String(ms - now * 1000).padStart(3, "0")}Z`;
    return text;
  };
}

/** What stands in JSON as it is. */
const plain = /^[\w ./:@+*-]*$/;

function quoted(text: string): string {
  if (plain.test(text)) return `"${text}"`;
  return JSON.stringify(text).replace(unsafeInJson, escapeCharacter);
}

/** The fields that one request after another has in common, up to the path. */
function commonFields(): (request: RequestLine) => string {
  let last: Pick<RequestLine, "client" | "upstream" | "method"> | null = null;
  let text = "";
  return (request) => {
    const { client, upstream, method } = request;
    if (last?.client === client && last.upstream === upstream && last.method === method)
      return text;
    last = { client, upstream, method };
    text = `,"client":${quoted(client)},"upstream":${quoted(upstream)},"method":${quoted(method)},"path":`;
    return text;
  };
}

function tokensOf({
  model,
  tokens_reserved: reserved,
  tokens_charged: charged,
}: RequestLine): string {
  return model === null && reserved === null && charged === null
    ? ',"model":null,"tokens_reserved":null,"tokens_charged":null'
    : `,"model":${model === null ? "null" : quoted(model)},"tokens_reserved":${reserved},"tokens_charged":${charged}`;
}

function withoutQuery(path: string): string {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

/** JSON lines: `time` (RFC 3339), `level`, `message`, then the fields. */
export function jsonFormat(): LineFormat {
  const iso = isoClock();
  const from = commonFields();
  const line = (time: number, level: LogLevel, message: string, fields: object): string => {
    const text = JSON.stringify(fields);
    const head = `{"time":"${iso(time)}","level":"${level}","message":${JSON.stringify(message)}`;
    return (
      `${head}${text === "{}" ? "" : ","}${text.slice(1)}`.replace(unsafeInJson, escapeCharacter) +
      "\n"
    );
  };
  return {
    event(time, level, message, fields = {}) {
      const shown: Record<string, unknown> = {};
      for (const [key, value] of Object.entries(fields)) shown[key] = presentable(key, value);
      return line(time, level, hideSecrets(message), shown);
    },
    // Key by key: what a caller's object has beyond these names must not reach the log. And by hand, since every
    // request passes here: an object and its serialisation would cost three times as much.
    request: (time, request) =>
      `{"time":"${iso(time)}","level":"info","message":"request","request_id":${quoted(request.request_id)}` +
      from(request) +
      `${quoted(withoutQuery(request.path))},"status":${request.status}` +
      tokensOf(request) +
      `,"wait_ms":${written(request.wait_ms)},"upstream_ms":${request.upstream_ms === null ? "null" : written(request.upstream_ms)}` +
      `,"total_ms":${written(request.total_ms)},"outcome":${quoted(request.outcome)}}\n`,
  };
}

const ansi = { debug: 90, info: 36, warn: 33, error: 31, dim: 2, good: 32 } as const;

/** Lines for people: `12:34:56.789 INFO  message  key=value`, in local time. */
export function prettyFormat(colours: boolean): LineFormat {
  const paint = (style: keyof typeof ansi, text: string): string =>
    colours ? `\u001b[${ansi[style]}m${text}\u001b[0m` : text;
  const head = (time: number, level: LogLevel): string => {
    const date = new Date(time);
    const [hours, minutes, seconds, ms] = [
      date.getHours(),
      date.getMinutes(),
      date.getSeconds(),
      date.getMilliseconds(),
    ].map((part, index) => String(part).padStart(index === 3 ? 3 : 2, "0"));
    const clock = paint("dim", `${hours}:${minutes}:${seconds}.${ms}`);
    return `${clock} ${paint(level, level.toUpperCase().padEnd(5))}`;
  };
  const pair = (key: string, value: unknown): string => {
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
    const quoted =
      typeof value === "string" && /[\s"=]|^$/.test(text) ? JSON.stringify(text) : text;
    return `${paint("dim", `${clean(key)}=`)}${clean(quoted)}`;
  };
  return {
    event(time, level, message, fields = {}) {
      const pairs = Object.entries(fields).map(([key, value]) =>
        pair(key, presentable(key, value)),
      );
      return `${[`${head(time, level)} ${clean(hideSecrets(message))}`, ...pairs].join(" ")}\n`;
    },
    request(time, line) {
      const status = paint(
        line.status < 400 ? "good" : line.status < 500 ? "warn" : "error",
        String(line.status),
      );
      const pairs = [
        pair("upstream", line.upstream),
        pair("client", line.client),
        ...(line.model === null ? [] : [pair("model", line.model)]),
        ...(line.tokens_reserved === null
          ? []
          : [pair("tokens", `${line.tokens_charged ?? "?"}/${line.tokens_reserved}`)]),
        pair("wait", `${round(line.wait_ms)}ms`),
        ...(line.upstream_ms === null
          ? []
          : [pair("upstream_time", `${round(line.upstream_ms)}ms`)]),
        pair("total", `${round(line.total_ms)}ms`),
        pair("outcome", line.outcome),
        pair("id", line.request_id),
      ];
      const what = `${clean(line.method)} ${clean(withoutQuery(line.path))}`;
      return `${head(time, "info")} ${what} ${status} ${pairs.join(" ")}\n`;
    },
  };
}

function clean(text: string): string {
  return text.replace(unsafe, escapeCharacter);
}
