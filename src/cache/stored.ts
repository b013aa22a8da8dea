/** A body that is there in full, one that comes in pieces, or none. */
export type Body = Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;

/** An answer as it is handed on: what a `Response` is made of. */
export interface Answer {
  readonly status: number;
  readonly statusText: string;
  /** The receiver's own: may be changed. */
  readonly headers: Headers;
  readonly body: Body;
}

/** The head of an answer. */
export interface AnswerHead {
  readonly status: number;
  readonly statusText: string;
  /** End-to-end fields only. */
  readonly headers: Headers;
}

/** A replayed stream goes out in pieces of this size, each waiting until a slow client has taken the one before. */
const pieceBytes = 64 * 1024;

/** What tells of the moment of the first answer, or of its receiver alone, and would mislead with a later one. */
const momentary = /^(?:(?:x-|anthropic-)?ratelimit.*|retry-after(?:-ms)?|x-cooldown-.*)$/;
const momentaryNames = ["age", "content-length", "set-cookie", "x-cache", "x-cache-timestamp"];

/**
 * The fields of `headers` that may go to others than its receiver, as a copy. `Date`, `X-Request-ID` and the
 * upstream's own stay; what remained of a quota, cookies and the like do not.
 */
export function lastingHeaders(headers: Headers): Headers {
  const copy = new Headers(headers);
  for (const name of headers.keys()) if (momentary.test(name)) copy.delete(name);
  for (const name of momentaryNames) copy.delete(name);
  return copy;
}

/**
 * The head of an answer as text, to be kept.
 * @param head its headers lasting ones
 * @param now when the answer was complete, ms since the epoch
 */
export function written({ status, statusText, headers }: AnswerHead, now: number): string {
  const fields: Written[2] = [...headers];
  fields.push(["x-cache", "HIT"], ["x-cache-timestamp", new Date(now).toISOString()]);
  return JSON.stringify([status, statusText, fields] satisfies Written);
}

type Written = [status: number, statusText: string, headers: [string, string][]];

/**
 * An answer that was kept: status, fields and bytes as they were, with `X-Cache: HIT`, `X-Cache-Timestamp` and `Age`
 * (RFC 9111 §4). What was a stream of events is one again, cut into other pieces.
 *
 * @param head as `written` made it
 * @param ageMs the time since then
 */
export function replay(head: string, body: Uint8Array<ArrayBuffer>, ageMs: number): Answer {
  const [status, statusText, fields] = JSON.parse(head) as Written;
  const headers = new Headers(fields);
  headers.set("age", String(Math.max(0, Math.floor(ageMs / 1_000))));
  const type = headers.get("content-type");
  // Bytes without a type would be given one by the server, which a stream is not.
  const asStream = type === null || isEventStream(type);
  return {
    status,
    statusText,
    headers,
    body: body.length === 0 ? null : asStream ? inPieces(body) : body,
  };
}

/** Whether a `Content-Type` is that of server-sent events. */
export function isEventStream(type: string | null): boolean {
  return type?.startsWith("text/event-stream") === true;
}

function inPieces(body: Uint8Array): ReadableStream<Uint8Array> {
  const pull = async (sink: ReadableStreamDirectController): Promise<void> => {
    for (let at = 0; at < body.length; at += pieceBytes) {
      const written = sink.write(body.subarray(at, at + pieceBytes));
      void sink.flush();
      if (written instanceof Promise) await written;
    }
    void sink.end();
  };
  return new ReadableStream<Uint8Array>({ type: "direct", pull });
}
