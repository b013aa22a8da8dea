import { createHash } from "node:crypto";

/** Where what is sent is to go. */
export interface Ports {
  main: number;
  forward: number;
  upstream: number;
}

/** Something that a hostile client sends, on a connection of its own. */
export interface Attack {
  kind: string;
  port: number;
  bytes: Buffer;
  /** Whether the connection is left standing afterwards, instead of being given up. */
  stalls: boolean;
}

type Random = () => number;

const pick = <T>(random: Random, from: readonly T[]): T | undefined =>
  from[Math.floor(random() * from.length)];

/** Requests that are well-formed. `path` has a name of its own, by which the upstream knows them. */
function request(random: Random, ports: Ports, path: string): { port: number; text: string } {
  const headers = "Host: api.test\r\nUser-Agent: hostile\r\nX-Key: value\r\n";
  const json = '{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}';
  const websocket =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
  const absolute = `http://127.0.0.1:${ports.upstream}${path}`;
  const { main, forward } = ports;
  const all = [
    { port: main, text: `GET ${path} HTTP/1.1\r\n${headers}\r\n` },
    { port: main, text: `POST ${path} HTTP/1.1\r\n${headers}Content-Length: 5\r\n\r\nhello` },
    {
      port: main,
      text: `POST ${path} HTTP/1.1\r\n${headers}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\n\r\n`,
    },
    {
      port: main,
      text: `POST ${path} HTTP/1.1\r\nHost: model.test\r\nContent-Length: ${json.length}\r\n\r\n${json}`,
    },
    { port: main, text: `GET ${path} HTTP/1.1\r\nHost: ws.test\r\n${websocket}\r\n` },
    { port: forward, text: `GET ${absolute} HTTP/1.1\r\n${headers}\r\n` },
    {
      port: forward,
      text: `POST ${absolute} HTTP/1.1\r\n${headers}Content-Length: 5\r\n\r\nhello`,
    },
    {
      port: forward,
      text: `CONNECT 127.0.0.1:${ports.upstream} HTTP/1.1\r\nHost: 127.0.0.1:${ports.upstream}\r\nX-Path: ${path}\r\n\r\n`,
    },
  ];
  return pick(random, all) ?? { port: main, text: "" };
}

/** Changes, inserts, doubles or removes a few bytes anywhere. What comes of it may still be a request. */
function mutated(bytes: Buffer, random: Random): Buffer {
  let out = bytes;
  for (let left = 1 + Math.floor(random() * 6); left > 0; left--) {
    const at = Math.floor(random() * out.length);
    const end = Math.min(out.length, at + 1 + Math.floor(random() * 8));
    const byte = Buffer.from([Math.floor(random() * 256)]);
    const special = Buffer.from(
      pick(random, ["\r", "\n", "\0", " ", ":", "\r\n\r\n", "\xff"]) ?? "",
      "latin1",
    );
    const middle = pick(random, [
      byte,
      special,
      Buffer.concat([out.subarray(at, end), out.subarray(at, end)]),
      Buffer.alloc(0),
    ]);
    out = Buffer.concat([
      out.subarray(0, at),
      middle ?? byte,
      out.subarray(random() < 0.5 ? at : end),
    ]);
  }
  return out;
}

/** Makes a request one that no reader of RFC 9112 may take, at a place of chance. */
function broken(text: string, random: Random): string {
  const end = text.indexOf("\r\n\r\n");
  const lines = text.slice(0, end).split("\r\n");
  const line = 1 + Math.floor(random() * (lines.length - 1));
  const change = pick<(header: string) => string>(random, [
    (header) => header.replace(":", ""),
    (header) => header.replace(":", " :"),
    (header) => `\x01${header}`,
    (header) => header.replace(":", "\0:"),
    (header) => `${header}\0`,
    (header) => `${header}\r\nContent-Length: 5\r\nContent-Length: 6`,
    (header) => `${header}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked`,
    (header) => `${header}\r\nContent-Length: -5`,
    (header) => `${header}\r\nTransfer-Encoding: chunked, cow`,
    (header) => `${header}\r\nHost: other.test`,
    (header) => `${header}\r\n folded`,
    (header) => `(${header}`,
  ]);
  lines[line] = change?.(lines[line] ?? "") ?? "";
  if (random() < 0.2)
    lines[0] = (lines[0] ?? "").replace(
      "HTTP/1.1",
      pick(random, ["HTTP/1.9x", "HTTP/3", "SIP/1.1", "HTTP/1.1 x"]) ?? "",
    );
  return lines.join("\r\n") + text.slice(end);
}

const nested = (open: string, close: string, depth: number): string =>
  open.repeat(depth) + close.repeat(depth);

/** Bodies for a route that has to look into them. */
function json(random: Random): string {
  const number =
    pick(random, ["-1", "1e999", "0.5", "1e308", "99999999999999999999", '"4"', "null", "{}"]) ??
    "";
  const long = Math.floor(random() * 400_000);
  return (
    pick<() => string>(random, [
      () => nested("[", "]", long),
      () => `{"messages":${nested('[{"a":', "}]", 0)}${nested("[", "]", 150)}}`,
      () => `{"model":"m","messages":${nested("[", "", long)}`,
      () => `{"model":"m","max_tokens":${number},"messages":[{"role":"user","content":"x"}]}`,
      () => `{"model":"${"m".repeat(long)}","messages":[]}`,
      () => `{"model":"m","messages":[${'{"role":"user","content":"x"},'.repeat(long / 100)}null]}`,
      () => `{"model":"m","messages":[{"role":"user","content":"${"\\ud800".repeat(long / 10)}"}]}`,
      () => `{"model":"m","messages":[{"content":${nested('[{"type":"text","text":', "}]", 60)}}]}`,
      () =>
        `{"__proto__":{"messages":1},"constructor":{"prototype":1},"model":"m","messages":[{"__proto__":1}]}`,
      () => `{${Array.from({ length: long / 20 }, (_, i) => `"k${i}":1`).join(",")}}`,
      () => `{"model":"m","messages":[{"role":"user","content":"${"a ".repeat(long / 4)}"}]`,
      () => `{"model":"m","messages":"${"\\u0000".repeat(long / 10)}","stream":"yes"}`,
      () => `{"model":["m"],"messages":{"0":{"role":1}},"tools":${nested('{"a":', "}", 1)}}`,
      () => "\ufeff{}",
      () => "",
      () => `{"model":"m","model":${number}}`,
    ])?.() ?? ""
  );
}

function chat(body: string): Buffer {
  const bytes = Buffer.from(body);
  const head = `POST /json HTTP/1.1\r\nHost: model.test\r\nContent-Type: application/json\r\nContent-Length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head.replace("/json", "/v1/chat/completions")), bytes]);
}

/** A handshake that is well-formed, and frames of chance behind it. */
function frames(random: Random, path: string): Buffer {
  const key = createHash("md5").update(String(random())).digest("base64");
  const head = `GET ${path} HTTP/1.1\r\nHost: ws.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`;
  const noise = Array.from({ length: 1 + Math.floor(random() * 8) }, () => {
    const length = Math.floor(random() * 126);
    const isMasked = random() < 0.7;
    const first = Math.floor(random() * 256);
    const size = random() < 0.1 ? 127 : length;
    const rest = Buffer.from(Array.from({ length: length + 4 }, () => Math.floor(random() * 256)));
    return Buffer.concat([
      Buffer.from([random() < 0.6 ? 0x81 : first, (isMasked ? 128 : 0) | size]),
      rest,
    ]);
  });
  return Buffer.concat([Buffer.from(head), ...noise]);
}

function flood(random: Random, path: string): string {
  const count = Math.floor(random() * 4_000);
  const lines = Array.from({ length: count }, (_, i) => `X-${i}: ${"y".repeat(random() * 40)}\r\n`);
  return `GET ${path} HTTP/1.1\r\nHost: api.test\r\n${lines.join("")}\r\n`;
}

/**
 * The next thing to send. What is `broken` is never a request, and its path begins with `/broken`; of the others some
 * still are.
 * @param n a number that nothing before had
 */
export function attack(random: Random, ports: Ports, n: number): Attack {
  const stalls = random() < 0.1;
  const kind =
    pick(random, ["broken", "broken", "mutated", "mutated", "json", "frames", "flood", "half"]) ??
    "";
  const either = random() < 0.5 ? ports.main : ports.forward;
  if (kind === "json") return { kind, port: ports.main, bytes: chat(json(random)), stalls };
  if (kind === "frames")
    return { kind, port: ports.main, bytes: frames(random, `/frames/${n}`), stalls };
  if (kind === "flood")
    return { kind, port: either, bytes: Buffer.from(flood(random, `/flood/${n}`)), stalls };
  const { port, text } = request(random, ports, `/${kind}/${n}`);
  if (kind === "broken")
    return { kind, port, bytes: Buffer.from(broken(text, random), "latin1"), stalls };
  const bytes = Buffer.from(text, "latin1");
  if (kind === "mutated") return { kind, port, bytes: mutated(bytes, random), stalls };
  return { kind, port, bytes: bytes.subarray(0, Math.floor(random() * bytes.length)), stalls };
}
