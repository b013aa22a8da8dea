import type { HeaderFields } from "../header-fields.ts";
import type { BodyFraming } from "./request-head.ts";
import type { UpstreamRequest } from "./upstream.ts";

/** How the end of a body will be told. */
export function framingOf(headers: HeaderFields, body: UpstreamRequest["body"]): BodyFraming {
  if (body === null) return null;
  if (!(body instanceof ReadableStream)) return body.byteLength;
  const length = headers.get("content-length");
  return length === null ? "chunked" : Number(length);
}

// oxlint-disable-next-line no-control-regex -- what is not in it is looked for
const ascii = /^[\0-\x7f]*$/;

/** A wire takes strings as UTF-8, which is the same for ASCII and cheaper than bytes. */
export function latin1(head: string): string | Uint8Array {
  return ascii.test(head) ? head : Buffer.from(head, "latin1");
}

/** Text that is Latin-1. */
export function asBytes(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? Buffer.from(text, "latin1") : text;
}

/** A head with its body. */
export function joined(head: string, body: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(head.length + body.byteLength);
  bytes.write(head, 0, "latin1");
  bytes.set(body, head.length);
  return bytes;
}

/** A piece of a body as RFC 9112 §7.1 has it. */
export function asChunk(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([
    Buffer.from(`${bytes.byteLength.toString(16)}\r\n`, "latin1"),
    bytes,
    Buffer.from("\r\n", "latin1"),
  ]);
}
