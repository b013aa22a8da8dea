import fc from "fast-check";

/** An answer as a server puts it on the wire, and what is to be read of it. */
export interface WireAnswer {
  readonly method: string;
  readonly status: number;
  readonly bytes: Buffer<ArrayBuffer>;
  readonly body: Buffer;
  /** How many of `bytes` are its head, with the interim answers before it. */
  readonly headLength: number;
  /** Whether only the end of the connection is its end. */
  readonly endsByClose: boolean;
  /** Whether another may follow on its connection. */
  readonly isKept: boolean;
}

/** How a body is put on the wire, or why there is none. */
export type Coding = "length" | "chunked" | "close" | "HEAD" | "204" | "304";

export interface AnswerParts {
  readonly coding: Coding;
  readonly body: Uint8Array;
  /** Lines of its head, without line ends. */
  readonly fields: readonly string[];
  /** Statuses of the answers before it. */
  readonly interim: readonly number[];
  readonly lineEnd: "\r\n" | "\n";
  /** Sizes of its chunks, over and over. */
  readonly chunks: readonly number[];
  /** How a size is written. */
  readonly size: (bytes: number) => string;
  readonly trailers: readonly string[];
}

const plain = (bytes: number): string => bytes.toString(16);

/** Parts of answers of all kinds. */
export const answerParts: fc.Arbitrary<AnswerParts> = fc.record({
  coding: fc.constantFrom<Coding[]>("length", "chunked", "chunked", "close", "HEAD", "204", "304"),
  body: fc.uint8Array({ maxLength: 200, size: "max" }),
  fields: fc.constantFrom<string[][]>(
    [],
    ["X-A: b"],
    ["X-A: b", "X-Long: c", "\td", "Set-Cookie: e=f, g"],
    ["Connection: close"],
  ),
  interim: fc.array(fc.constantFrom(100, 102, 103), { maxLength: 3 }),
  lineEnd: fc.constantFrom<("\r\n" | "\n")[]>("\r\n", "\r\n", "\n"),
  chunks: fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 6 }),
  size: fc.constantFrom(
    plain,
    (bytes) => plain(bytes).toUpperCase(),
    (bytes) => `000${plain(bytes)}`,
    (bytes) => `${plain(bytes)};a=b;c="d e"`,
    (bytes) => `${plain(bytes)} `,
    (bytes) => `${plain(bytes)}\t ;f`,
  ),
  trailers: fc.constantFrom([], ["X-Sum: 1"], ["X-Sum: 1", "X-More: 2"]),
});

/** Puts an answer together. */
export function wireAnswer({
  coding,
  body,
  fields,
  interim,
  lineEnd,
  chunks,
  size,
  trailers,
}: AnswerParts): WireAnswer {
  const status = coding === "204" || coding === "304" ? Number(coding) : 200;
  const framing = {
    length: `Content-Length: ${body.length}`,
    chunked: "Transfer-Encoding: chunked",
    close: "X-End: close",
    HEAD: "Content-Length: 12345",
    "204": "X-End: none",
    "304": "Content-Length: 12345",
  }[coding];
  const lines = interim.flatMap((one) => [`HTTP/1.1 ${one} Wait`, "Link: </x>", ""]);
  lines.push(`HTTP/1.1 ${status} Fine`, ...fields, framing, "", "");
  const head = Buffer.from(lines.join(lineEnd));
  const parts: Uint8Array[] = [head];
  const hasBody = coding === "length" || coding === "chunked" || coding === "close";
  if (coding !== "chunked") {
    if (hasBody) parts.push(body);
  } else {
    for (let at = 0, i = 0; at < body.length; i++) {
      const chunk = body.subarray(at, at + chunks[i % chunks.length]!);
      parts.push(Buffer.from(`${size(chunk.length)}${lineEnd}`), chunk, Buffer.from(lineEnd));
      at += chunk.length;
    }
    parts.push(Buffer.from([size(0), ...trailers, "", ""].join(lineEnd)));
  }
  return {
    method: coding === "HEAD" ? "HEAD" : "GET",
    status,
    bytes: Buffer.concat(parts),
    body: Buffer.from(hasBody ? body : []),
    headLength: head.length,
    endsByClose: coding === "close",
    isKept: coding !== "close" && !fields.includes("Connection: close"),
  };
}

/** An answer with a body of a length that it says. */
export function plainAnswer(body: string, fields: readonly string[] = []): Buffer<ArrayBuffer> {
  const lines = ["HTTP/1.1 200 OK", `Content-Length: ${body.length}`, ...fields, "", body];
  return Buffer.from(lines.join("\r\n"), "latin1");
}

/** Copies of `bytes` in pieces of these sizes, over and over; each is the taker's. */
export function piecesOf(bytes: Uint8Array, sizes: readonly number[]): Buffer<ArrayBuffer>[] {
  const pieces: Buffer<ArrayBuffer>[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = at + (sizes[i % sizes.length] ?? bytes.length);
    pieces.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return pieces;
}

/** Sizes to cut bytes into. */
export const cuts: fc.Arbitrary<readonly number[]> = fc.oneof(
  fc.constant([]),
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 10 }),
);
