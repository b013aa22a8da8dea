import type { Clock } from "../clock.ts";
import type { UpstreamRefusal } from "../provider/refusal.ts";
import { readRefusal } from "../provider/refusal.ts";
import type { Provider } from "../provider/provider.ts";
import type { Answer, AnswerBody } from "../upstream/upstream.ts";
import { collector, decoding } from "./decode.ts";

/** Statuses with which an upstream may say that it is too much, by its own word or through a gateway before it. */
const statuses: ReadonlySet<number> = new Set([429, 503, 529]);

/** More of such an answer is not looked at. */
const mostBytes = 64 * 1024;
/** Nor is it waited for any longer, ms: status and headers say most of it. */
const longestReadMs = 2_000;

/** An upstream's answer that may turn a request away, and what it means. */
interface TurnedAway {
  /** Null where it is about something else. */
  readonly refusal: UpstreamRefusal | null;
  /** The answer, for the client if waiting does not help: its body has been read and put back. */
  readonly answer: Answer;
  /** Whether all of it is there; if not, the call is still open. */
  readonly whole: boolean;
}

/** How long an answer's head alone says to wait, ms; null where it does not, or means something else. */
export function waitInHead(
  provider: Provider,
  { status, headers }: Answer,
  now: number,
): number | null {
  const refusal = readRefusal(provider, status, headers, null, now);
  return refusal?.kind === "rate_limit" ? refusal.waitMs : null;
}

/** Whether an answer of this status may turn the request away. Cheap: it is asked of every answer. */
export function mayTurnAway(provider: Provider, status: number): boolean {
  if (status < 400) return false;
  return (
    statuses.has(status) ||
    (status === 403 && provider === "github") ||
    (status === 498 && provider === "groq")
  );
}

/**
 * Reads what an answer says about limits. A body that does not end, or breaks off, is taken for what was there of it.
 * The answer that is returned is to be used in place of the one given.
 * @param clock its present time is when the headers arrived
 * @param saysMs the wait that the head names, ms; null for none. Half of it is the longest that the body is read: the
 *   request has to be in its place again before the hold ends, or others go first
 */
export async function readTurnedAway(
  provider: Provider,
  answer: Answer,
  clock: Clock,
  saysMs: number | null,
): Promise<TurnedAway> {
  const now = clock.now();
  const { status, statusText, headers } = answer;
  const readMs = Math.min(longestReadMs, (saysMs ?? Infinity) / 2);
  const { start, body, whole } = await readStart(answer, clock, readMs);
  const text = await decodedText(start, headers.get("content-encoding"));
  const refusal = readRefusal(provider, status, headers, text, now);
  if (whole && start.length !== Number(headers.get("content-length") ?? start.length))
    headers.delete("content-length");
  return { answer: { status, statusText, headers, body }, refusal, whole };
}

/** The first bytes of an answer, and all of it again. */
interface Start {
  start: Uint8Array<ArrayBuffer>;
  body: Answer["body"];
  whole: boolean;
}

async function readStart({ body }: Answer, clock: Clock, longestMs: number): Promise<Start> {
  if (body === null) return { start: new Uint8Array(), body, whole: true };
  if (body instanceof Uint8Array) return { start: body, body, whole: true };
  const pieces: Uint8Array[] = [];
  let length = 0;
  const { promise: late, resolve: stop } = Promise.withResolvers<"late">();
  const cancel = clock.at(clock.now() + longestMs, () => stop("late"));
  /** What was asked for and has not come. */
  let asked: ReturnType<AnswerBody["read"]> | null = null;
  try {
    while (length <= mostBytes) {
      asked = body.read();
      const piece = await Promise.race([asked, late]);
      if (piece === "late") break;
      asked = null;
      if (piece === null) return all(pieces);
      pieces.push(piece);
      length += piece.byteLength;
    }
  } catch {
    return all(pieces);
  } finally {
    cancel();
  }
  // Where nobody reads on, that it breaks off is no news.
  asked?.catch(() => undefined);
  const start = Buffer.concat(pieces);
  return { start, body: new Resumed(start, asked, body), whole: false };
}

function all(pieces: readonly Uint8Array[]): Start {
  const bytes = Buffer.concat(pieces);
  return { start: bytes, body: bytes, whole: true };
}

/** A body of which the start was read, from its start. */
class Resumed implements AnswerBody {
  #start: Uint8Array<ArrayBuffer> | null;
  /** The piece after that, where it was asked for already. */
  #asked: ReturnType<AnswerBody["read"]> | null;
  readonly #rest: AnswerBody;

  constructor(
    start: Uint8Array<ArrayBuffer>,
    asked: ReturnType<AnswerBody["read"]> | null,
    rest: AnswerBody,
  ) {
    this.#start = start.length === 0 ? null : start;
    this.#asked = asked;
    this.#rest = rest;
  }

  read(): Promise<Uint8Array<ArrayBuffer> | null> {
    const start = this.#start;
    const asked = this.#asked;
    if (start !== null) {
      this.#start = null;
      return Promise.resolve(start);
    }
    this.#asked = null;
    return asked ?? this.#rest.read();
  }

  async each(take: (piece: Uint8Array<ArrayBuffer>) => Promise<void> | undefined): Promise<void> {
    while (this.#start !== null || this.#asked !== null) {
      const piece = await this.read();
      if (piece === null) return;
      await take(piece);
    }
    await this.#rest.each(take);
  }

  cancel(): void {
    this.#rest.cancel();
  }
}

/** What `bytes` say, null where they cannot be read. */
async function decodedText(bytes: Uint8Array, encoding: string | null): Promise<string | null> {
  const reader = decoding(encoding, collector(mostBytes));
  if (reader === null) return null;
  reader.push(bytes);
  const { bytes: decoded, isWhole } = await reader.end();
  return isWhole ? new TextDecoder().decode(decoded) : null;
}
