import type { BodyFraming } from "../../src/upstream/request-head.ts";
import type { UpstreamRequest } from "../../src/upstream/upstream.ts";

/** What a request has for a body, and how its end is told. */
export type RequestKind = "none" | "small" | "large" | "length" | "chunked";

/** A request's body, how its end is told, and how it goes out. */
export function requestBody(
  kind: RequestKind,
  id: number,
): { body: UpstreamRequest["body"]; framing: BodyFraming; coded: Buffer } {
  if (kind === "none") return { body: null, framing: null, coded: Buffer.alloc(0) };
  if (kind === "small" || kind === "large") {
    const body = new Uint8Array(kind === "small" ? 10 : 70_000).fill(id);
    return { body, framing: body.length, coded: Buffer.from(body) };
  }
  const pieces = [3, 0, 5_000].map((length) => new Uint8Array(length).fill(id));
  const whole = Buffer.concat(pieces);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
  if (kind === "length") return { body, framing: whole.length, coded: whole };
  const coded = pieces
    .filter(({ length }) => length > 0)
    .flatMap((piece) => [
      Buffer.from(`${piece.length.toString(16)}\r\n`),
      piece,
      Buffer.from("\r\n"),
    ]);
  return { body, framing: "chunked", coded: Buffer.concat([...coded, Buffer.from("0\r\n\r\n")]) };
}
