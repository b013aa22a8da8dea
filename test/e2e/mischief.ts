import { rawServer } from "../upstream/raw-server.ts";
import type { RawConnection, RawServer } from "../upstream/raw-server.ts";
import { call } from "./client.ts";

const usage = '"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}';
const streamHead =
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

function json(body: string, status = "200 OK", length = body.length): string {
  return `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
}

type Respond = (connection: RawConnection, later: (run: () => void, ms?: number) => void) => void;

/** What the upstream does with a request, by its query; good and bad manners in equal parts. */
const manners = {
  fine: ({ socket }) => socket.write(json(`{${usage}}`)),
  slow: ({ socket }, later) => later(() => socket.write(json(`{${usage}}`)), 30),
  stream({ socket }, later) {
    socket.write(streamHead + chunk('data: {"choices":[{"delta":{"content":"a"}}]}\n\n'));
    later(() => {
      socket.write(`${chunk(`data: {"choices":[],${usage}}\n\ndata: [DONE]\n\n`)}0\r\n\r\n`);
    }, 20);
  },
  "stream-without-usage": ({ socket }, later) => {
    socket.write(streamHead + chunk('data: {"choices":[{"delta":{"content":"a b c"}}]}\n\n'));
    later(() => socket.write("0\r\n\r\n"), 10);
  },
  "reset-at-once": ({ socket }) => void socket.resetAndDestroy(),
  "close-at-once": ({ socket }) => void socket.end(),
  "reset-later": ({ socket }, later) => later(() => socket.resetAndDestroy(), 20),
  "reset-in-stream": ({ socket }, later) => {
    socket.write(streamHead + chunk('data: {"choices":[{"delta":{"content":"a"}}]}\n\n'));
    later(() => socket.resetAndDestroy(), 20);
  },
  "too-short": ({ socket }) => void socket.end(json(`{${usage}}`, "200 OK", 5_000)),
  "not-http": ({ socket }) => void socket.end("220 smtp.test ESMTP\r\n\r\n"),
  "not-json": ({ socket }) => socket.write(json("<html>oops</html>")),
  "odd-usage": ({ socket }) =>
    socket.write(
      json('{"usage":{"prompt_tokens":-1,"completion_tokens":1e99,"total_tokens":"x"}}'),
    ),
  "bad-chunks": ({ socket }) => void socket.end(`${streamHead}zz\r\nhello\r\n`),
  "bad-gzip": ({ socket }) =>
    socket.write(json("this is no gzip").replace("\r\n", "\r\nContent-Encoding: gzip\r\n")),
  "server-fault": ({ socket }) => socket.write(json('{"error":"x"}', "500 Internal Server Error")),
  refusal: ({ socket }) => socket.write(json('{"error":"x"}', "400 Bad Request")),
} satisfies Record<string, Respond>;

/** An upstream with manners of all kinds. */
export interface Mischief extends AsyncDisposable {
  readonly url: string;
  /** Requests whose head and body have arrived in full. */
  readonly counted: number;
}

export async function startMischief(): Promise<Mischief> {
  let counted = 0;
  const timers = new Set<ReturnType<typeof setTimeout>>();
  const server: RawServer = await rawServer((connection) => {
    const head = connection.received.indexOf("\r\n\r\n");
    if (head === -1) return;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(connection.received)?.[1] ?? 0);
    if (connection.received.length < head + 4 + length) return;
    const manner = /\?([a-z-]+)/.exec(connection.received)?.[1] ?? "fine";
    connection.received = connection.received.slice(head + 4 + length);
    counted++;
    const later = (run: () => void, ms = 0): void => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        run();
      }, ms);
      timers.add(timer);
    };
    (manners as Record<string, Respond>)[manner]?.(connection, later);
  });
  return {
    url: server.url,
    get counted() {
      return counted;
    },
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearTimeout(timer);
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Draws numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * One request of a random kind, which its client may leave at any moment.
 * @param aborts the share of clients that leave within 60 ms
 * @returns the status, "left" where the client did, "broken" where the answer was cut off
 */
export async function mischievous(
  port: number,
  random: () => number,
  aborts: number,
): Promise<string> {
  const kinds = Object.keys(manners);
  const manner = kinds[Math.floor(random() * kinds.length)] ?? "fine";
  const leaves = random() < aborts;
  const leaveAfterMs = random() * 60;
  const bound = random() < 0.5 ? { max_tokens: Math.ceil(random() * 500) } : {};
  const asked = call(port, {
    host: "api.test",
    path: `/v1/chat/completions?${manner}`,
    method: "POST",
    body: JSON.stringify({
      model: "m",
      messages: [{ role: "user", content: "word ".repeat(1 + Math.floor(random() * 200)) }],
      ...bound,
    }),
  });
  if (leaves) setTimeout(() => asked.abort(), leaveAfterMs);
  try {
    return String((await asked.answer).status);
  } catch {
    return leaves ? "left" : "broken";
  }
}
