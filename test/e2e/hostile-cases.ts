/** A request that no server should take as it stands. */
export interface HostileCase {
  name: string;
  /** What is sent, each piece in a packet of its own. */
  pieces: readonly string[];
}

const host = "Host: api.test\r\n";
/** What must never be seen as a request. */
const hidden = "GET /hidden HTTP/1.1\r\nHost: api.test\r\n\r\n";
const long = (length: number): string => "a".repeat(length);

function post(headers: string, body: string): readonly string[] {
  return [`POST /shown HTTP/1.1\r\n${host}${headers}\r\n${body}`];
}

function get(head: string): readonly string[] {
  return [`GET /shown HTTP/1.1\r\n${head}\r\n`];
}

/** Ways to say twice, and differently, how long a body is (RFC 9112 §6.1, §6.3, §11.2). */
const lengths: readonly HostileCase[] = [
  ["CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${hidden}`],
  [
    "TE.CL",
    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`,
  ],
  [
    "TE.TE, the second unknown",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
    `0\r\n\r\n${hidden}`,
  ],
  ["TE.TE, the first unknown", "Transfer-Encoding: cow, chunked\r\n", `0\r\n\r\n${hidden}`],
  [
    "chunked is not the last coding",
    "Transfer-Encoding: chunked, identity\r\n",
    `0\r\n\r\n${hidden}`,
  ],
  ["chunked twice", "Transfer-Encoding: chunked, chunked\r\n", `0\r\n\r\n${hidden}`],
  ["an unknown coding", "Transfer-Encoding: xchunked\r\n", `0\r\n\r\n${hidden}`],
  ["space before the colon", "Transfer-Encoding : chunked\r\n", `0\r\n\r\n${hidden}`],
  ["a tab in a coding", "Transfer-Encoding:\tchunked\vx\r\n", `0\r\n\r\n${hidden}`],
  ["a folded coding", "Transfer-Encoding:\r\n chunked\r\n", `0\r\n\r\n${hidden}`],
  ["a coding with a quote", 'Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${hidden}`],
  ["a coding after a bare CR", "X: y\rTransfer-Encoding: chunked\r\n", `0\r\n\r\n${hidden}`],
  ["a coding after a bare LF", "X: y\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${hidden}`],
  ["two lengths", "Content-Length: 0\r\nContent-Length: 60\r\n", hidden],
  ["two lengths in one", "Content-Length: 0, 60\r\n", hidden],
  ["a negative length", "Content-Length: -1\r\n", hidden],
  ["a signed length", "Content-Length: +0\r\n", hidden],
  ["a hexadecimal length", "Content-Length: 0x0\r\n", hidden],
  ["a length with a space", "Content-Length: 0 0\r\n", hidden],
  ["an empty length", "Content-Length: \r\n", hidden],
  ["a length beyond all numbers", "Content-Length: 99999999999999999999999999\r\n", hidden],
  ["an obsolete fold in a length", "Content-Length: 0\r\n 60\r\n", hidden],
].map(([name = "", headers = "", body = ""]) => ({ name, pieces: post(headers, body) }));

/** Chunks that are none (RFC 9112 §7.1). */
const chunks: readonly HostileCase[] = [
  ["no number", "zz\r\nhello\r\n0\r\n\r\n"],
  ["a negative size", "-1\r\nhello\r\n0\r\n\r\n"],
  ["a size that overflows", `ffffffffffffffffffff\r\n${hidden}`],
  ["a size of 2^53", `20000000000000\r\n${hidden}`],
  ["a size with 0x", `0x5\r\nhello\r\n0\r\n\r\n${hidden}`],
  ["a size after spaces", `   5\r\nhello\r\n0\r\n\r\n${hidden}`],
  ["data longer than its size", `5\r\nhelloworld\r\n0\r\n\r\n${hidden}`],
  ["a bare LF after the size", `5\nhello\r\n0\r\n\r\n${hidden}`],
  ["a bare CR in an extension", `5;a\rb\r\nhello\r\n0\r\n\r\n${hidden}`],
  ["a NUL in an extension", `5;\0\r\nhello\r\n0\r\n\r\n${hidden}`],
  ["an extension without end", `5;${long(200_000)}`],
  ["a request in trailers", `0\r\nX: y\r\n\r\n${hidden}`],
].map(([name, body = ""]) => ({
  name: `chunks: ${name}`,
  pieces: post("Transfer-Encoding: chunked\r\n", body),
}));

/** Heads that are none (RFC 9112 §3, §5). */
const heads: readonly HostileCase[] = [
  ["no Host", get("")],
  ["two Hosts", get(`${host}Host: other.test\r\n`)],
  ["two equal Hosts", get(host + host)],
  ["two Hosts in one", get("Host: api.test, other.test\r\n")],
  ["a Host with user info", get("Host: a@api.test\r\n")],
  ["a Host with a path", get("Host: api.test/hidden\r\n")],
  ["a Host with a bad port", get("Host: api.test:x\r\n")],
  ["a Host with a space", get("Host: api.test x\r\n")],
  ["an empty Host", get("Host: \r\n")],
  ["a NUL in a header", get(`${host}X: a\0b\r\n`)],
  ["a NUL in a name", get(`${host}X\0: a\r\n`)],
  ["a control character in a header", get(`${host}X: a\x01b\r\n`)],
  ["a bare CR in a header", get(`${host}X: a\rY: b\r\n`)],
  ["a name without a colon", get(`${host}nonsense\r\n`)],
  ["an empty name", get(`${host}: x\r\n`)],
  ["a space in a name", get(`${host}X Y: z\r\n`)],
  ["a folded header", get(`${host}X: y\r\n z\r\n`)],
  ["a fold before all headers", get(` ${host}`)],
  ["a name that is not ASCII", get(`${host}Xé: y\r\n`)],
  ["a header flood", get(host + Array.from({ length: 5_000 }, (_, i) => `X-${i}: y\r\n`).join(""))],
  ["a header of 1 MB", get(`${host}X: ${long(1_000_000)}\r\n`)],
  ["a request line of 1 MB", [`GET /${long(1_000_000)} HTTP/1.1\r\n${host}\r\n`]],
  ["a space in the target", [`GET /shown /hidden HTTP/1.1\r\n${host}\r\n`]],
  ["no target", [`GET HTTP/1.1\r\n${host}\r\n`]],
  ["a NUL in the target", [`GET /sho\0wn HTTP/1.1\r\n${host}\r\n`]],
  ["an odd method", [`G\x01T /shown HTTP/1.1\r\n${host}\r\n`]],
  ["HTTP/2.0", [`GET /shown HTTP/2.0\r\n${host}\r\n`]],
  ["HTTP/0.9", ["GET /shown\r\n\r\n"]],
  ["the preface of HTTP/2", ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]],
  ["a version of another protocol", [`GET /shown SIP/2.0\r\n${host}\r\n`]],
  ["a TLS hello", ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]],
  ["bytes of all kinds", [String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i))]],
  ["a bare LF at all ends", [`GET /shown HTTP/1.1\nHost: api.test\n\n${hidden}`]],
].map(([name, pieces]) => ({ name: name as string, pieces: pieces as readonly string[] }));

/** Each with a hidden request of its own, so that it is known whose came through. */
export const hostileCases: readonly HostileCase[] = [...lengths, ...chunks, ...heads].map(
  ({ name, pieces }, i) => ({
    name,
    pieces: pieces.map((piece) => piece.replaceAll("/hidden", hiddenPath(i))),
  }),
);

/** The path of the hidden request of one case; all are equally long. */
export function hiddenPath(i: number): string {
  return `/hid${String(i).padStart(3, "0")}`;
}
