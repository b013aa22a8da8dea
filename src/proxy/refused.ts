import type { UpstreamRefusal } from "../provider/refusal.ts";
import { readRefusal } from "../provider/refusal.ts";
import type { Provider } from "../provider/provider.ts";
import { collector, decoding } from "./decode.ts";

/** Statuses with which an upstream may say that it is too much, by its own word or through a gateway before it. */
const statuses: ReadonlySet<number> = new Set([429, 503, 529]);

/** More of such an answer is not looked at. */
const mostBytes = 64 * 1024;

/** An upstream's answer that turns a request away, as it came, and what it means. */
export interface TurnedAway {
  readonly refusal: UpstreamRefusal;
  readonly status: number;
  /** The answer, for the client if waiting does not help: its body has been read and put back. */
  readonly answer: Response;
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
 * Reads what an answer says about limits.
 * @param now when its headers arrived, ms since the epoch
 * @returns the answer, to be used in place of the one given, and null where it is about something else
 */
export async function readTurnedAway(
  provider: Provider,
  answer: Response,
  now: number,
): Promise<{ answer: Response; refusal: UpstreamRefusal | null }> {
  const { status, statusText, headers } = answer;
  const { start, whole } = await readStart(answer);
  const text = await decodedText(start, headers.get("content-encoding"));
  const refusal = readRefusal(provider, status, headers, text, now);
  const body = whole ?? null;
  return { answer: new Response(body, { status, statusText, headers }), refusal };
}

type Body = Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;

/** The first bytes of an answer, and all of it again. */
async function readStart(
  answer: Response,
): Promise<{ start: Uint8Array<ArrayBuffer>; whole: Body | null }> {
  const reader = answer.body?.getReader();
  if (reader === undefined) return { start: new Uint8Array(), whole: null };
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (length <= mostBytes) {
    const piece = await reader.read();
    if (piece.done) {
      const bytes = Buffer.concat(chunks);
      return { start: bytes, whole: bytes };
    }
    chunks.push(piece.value);
    length += piece.value.byteLength;
  }
  const start = Buffer.concat(chunks);
  const whole = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(start),
    async pull(controller) {
      const piece = await reader.read();
      if (piece.done) controller.close();
      else controller.enqueue(piece.value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { start, whole };
}

/** What `bytes` say, null where they cannot be read. */
async function decodedText(bytes: Uint8Array, encoding: string | null): Promise<string | null> {
  const reader = decoding(encoding, collector(mostBytes));
  if (reader === null) return null;
  reader.push(bytes);
  const decoded = await reader.end();
  return decoded === null ? null : new TextDecoder().decode(decoded);
}
