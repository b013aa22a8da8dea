import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UnreadableAnswer } from "../../src/upstream/answer-head.ts";
import { AnswerReader } from "../../src/upstream/answer-reader.ts";
import type { AnswerHead } from "../../src/upstream/answer-reader.ts";
import { answerParts, cuts, piecesOf, plainAnswer, wireAnswer } from "./wire-answers.ts";

/** A reader, and what it has read. */
function reading(method = "GET") {
  const heads: AnswerHead[] = [];
  // Not copied: what the sink was given must stay as it is.
  const pieces: Uint8Array[] = [];
  const read = { heads, ends: 0, body: () => Buffer.concat(pieces) };
  const reader = new AnswerReader({
    head: (head) => void heads.push(head),
    data: (bytes) => void pieces.push(bytes),
    end: () => void read.ends++,
  });
  reader.expect(method);
  const push = (text: string): void => reader.push(Buffer.from(text, "latin1"));
  return { reader, read, push };
}

describe("an answer", () => {
  test("is read the same however it is cut, and the next one after it", () => {
    const answers = fc.array(answerParts.map(wireAnswer), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(answers, cuts, (all, sizes) => {
        const { reader, read } = reading();
        let body = Buffer.alloc(0);
        for (const [i, answer] of all.entries()) {
          reader.expect(answer.method);
          expect(reader.isUntouched).toBe(true);
          body = Buffer.concat([body, answer.body]);
          for (const piece of piecesOf(answer.bytes, sizes)) {
            expect(read.ends).toBe(i);
            reader.push(piece);
            expect(reader.isUntouched).toBe(false);
            expect(body.subarray(0, read.body().length).equals(read.body())).toBe(true);
          }
          expect(read.heads).toHaveLength(i + 1);
          expect(read.heads[i]!.status).toBe(answer.status);
          expect(read.body().equals(body)).toBe(true);
          expect(read.ends).toBe(answer.endsByClose ? i : i + 1);
          expect(reader.close()).toBe(true);
          expect(read.ends).toBe(i + 1);
          expect(() => reader.push(Buffer.from("H"))).toThrow(UnreadableAnswer);
        }
      }),
      { numRuns: 500 },
    );
  });

  test.each(["\n\n", "\r\n\n", "\n\r\n", "\r\n\r\n"])(
    "ends its head with %j, whatever its body has",
    (end) => {
      const { read, push } = reading();
      push(`HTTP/1.1 200 OK\nContent-Length: 9${end}\0\r\n\r\n\n\nab`);
      expect([read.ends, read.body().toString()]).toEqual([1, "\0\r\n\r\n\n\nab"]);
    },
  );

  test("that breaks off anywhere has no end", () => {
    fc.assert(
      fc.property(answerParts.map(wireAnswer), fc.nat(), cuts, (answer, at, sizes) => {
        const { reader, read } = reading(answer.method);
        const length = at % answer.bytes.length;
        for (const piece of piecesOf(answer.bytes.subarray(0, length), sizes)) reader.push(piece);
        const isAll = answer.endsByClose && length >= answer.headLength;
        expect(reader.close()).toBe(isAll);
        expect(read.ends).toBe(isAll ? 1 : 0);
        expect(answer.body.subarray(0, read.body().length).equals(read.body())).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("with any fault in it is read to one end at most, or is unreadable, however it is cut", () => {
    const fault = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) });
    const outcome = (bytes: Uint8Array, method: string, sizes: readonly number[]) => {
      const { reader, read } = reading(method);
      let isReadable = true;
      try {
        for (const piece of piecesOf(bytes, sizes)) reader.push(piece);
      } catch (error) {
        expect(error).toBeInstanceOf(UnreadableAnswer);
        isReadable = false;
      }
      expect(read.ends).toBeLessThanOrEqual(1);
      return {
        isReadable,
        heads: read.heads.map(({ status }) => status),
        body: read.body(),
        ends: read.ends,
      };
    };
    fc.assert(
      fc.property(answerParts.map(wireAnswer), fault, cuts, (answer, { at, byte }, sizes) => {
        const bytes = Buffer.from(answer.bytes);
        bytes[at % bytes.length] = byte;
        const whole = outcome(bytes, answer.method, []);
        const cut = outcome(bytes, answer.method, sizes);
        // What comes before the fault may be given on before it, and is not where both come at once.
        if (whole.isReadable) expect(cut).toEqual(whole);
        else expect({ ...cut, body: null }).toEqual({ ...whole, body: null });
      }),
      { numRuns: 1_000 },
    );
  });

  test("of any bytes at all is unreadable at worst", () => {
    const line = fc.constantFrom(
      "HTTP/1.1 200 OK\r\n",
      "Content-Length: 3\r\n",
      "\r\n",
      "5\r\n",
      "a:",
      "\0",
    );
    const bytes = fc.array(fc.oneof(line, fc.string({ maxLength: 5 })), { maxLength: 12 });
    fc.assert(
      fc.property(bytes, (parts) => {
        const { push } = reading();
        try {
          for (const part of parts) push(part);
        } catch (error) {
          expect(error).toBeInstanceOf(UnreadableAnswer);
        }
      }),
    );
  });
});

describe("a head", () => {
  test.each<[string, string, string]>([
    ["no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", "first line"],
    ["another version", "HTTP/2.0 200 OK\r\n\r\n", "first line"],
    ["a version of its own", "HTTP/1.10 200 OK\r\n\r\n", "first line"],
    ["lower case", "http/1.1 200 OK\r\n\r\n", "first line"],
    ["an empty line before it", "\r\nHTTP/1.1 200 OK\r\n\r\n", "first line"],
    ["two digits", "HTTP/1.1 20 OK\r\n\r\n", "first line"],
    ["four digits", "HTTP/1.1 2000 OK\r\n\r\n", "first line"],
    ["no status", "HTTP/1.1\r\n\r\n", "first line"],
    ["two spaces", "HTTP/1.1  200 OK\r\n\r\n", "first line"],
    ["a status below all", "HTTP/1.1 099 No\r\n\r\n", "099 is no status"],
    ["a status above all", "HTTP/1.1 600 No\r\n\r\n", "600 is no status"],
    ["a switch of protocols", "HTTP/1.1 101 Switching\r\n\r\n", "nobody asked for"],
    ["a name with a space", "HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "name is none"],
    ["no name", "HTTP/1.1 200 OK\r\n: c\r\n\r\n", "name is none"],
    ["no colon", "HTTP/1.1 200 OK\r\nabc\r\n\r\n", "name is none"],
    ["a name beyond ASCII", "HTTP/1.1 200 OK\r\n\xe4: c\r\n\r\n", "name is none"],
    ["a second line of no header", "HTTP/1.1 200 OK\r\n c: d\r\n\r\n", "without a name"],
    ["NUL", "HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n", "forbidden"],
    ["CR alone", "HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n", "forbidden"],
    ["CR alone in its reason", "HTTP/1.1 200 O\rK\r\n\r\n", "forbidden"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "length"],
    ["two lengths in one", "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "length"],
    ["a length below 0", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "length"],
    ["a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", "length"],
    ["a length in hex", "HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n", "length"],
    ["a length with a fraction", "HTTP/1.1 200 OK\r\nContent-Length: 1.0\r\n\r\n", "length"],
    ["no length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "length"],
    [
      "a length beyond numbers",
      "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n",
      "length",
    ],
  ])("with %s is none", (_, text, why) => {
    const { read, push } = reading();
    expect(() => push(text)).toThrow(why);
    expect(() => reading().push(text)).toThrow(UnreadableAnswer);
    expect([read.heads, read.ends]).toEqual([[], 0]);
  });

  test.each<[string, string, number | null, number | null]>([
    ["1.1", "Content-Length: 1", null, 1],
    ["1.1", "Content-Length: 1\r\nConnection: close", 0, 1],
    ["1.1", "Content-Length: 1\r\nConnection: x, Close", 0, 1],
    ["1.1", "Content-Length: 1\r\nKeep-Alive: timeout=5, max=9", 5_000, 1],
    ["1.1", "Content-Length: 1\r\nConnection: close\r\nKeep-Alive: timeout=5", 0, 1],
    ["1.1", "Content-Length: 1\r\nKeep-Alive: timeout=0", 0, 1],
    ["1.0", "Content-Length: 1", 0, 1],
    ["1.0", "Content-Length: 1\r\nConnection: Keep-Alive", null, 1],
    ["1.1", "Content-Length: 7, 7", null, 7],
    ["1.1", "Transfer-Encoding: identity, Chunked", null, null],
    // Two ends: what comes behind one may have been meant to come before the other.
    ["1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5", 0, null],
    ["1.1", "Transfer-Encoding: chunked, identity", 0, null],
    ["1.1", "X-Length: 5", 0, null],
  ])("of %s with %j says how long it is kept, and the body", (version, lines, keepMs, length) => {
    const { read, push } = reading();
    push(`HTTP/${version} 200 OK\r\n${lines}\r\n\r\n`);
    expect(read.heads).toMatchObject([{ keepMs, length }]);
  });

  test("may be long, but not without bound", () => {
    const head = (bytes: number): string => {
      const start = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: ";
      return `${start}${"b".repeat(bytes - start.length - 4)}\r\n\r\n`;
    };
    const longest = 64 * 1024;
    for (const sizes of [[], [1_000]]) {
      const { reader, read } = reading();
      for (const piece of piecesOf(Buffer.from(head(longest)), sizes)) reader.push(piece);
      expect(read.ends).toBe(1);
      const over = reading();
      expect(() => {
        for (const piece of piecesOf(Buffer.from(head(longest + 1)), sizes))
          over.reader.push(piece);
      }).toThrow("too long");
      const endless = reading();
      expect(() => {
        for (const piece of piecesOf(Buffer.alloc(longest + 1, "H"), sizes))
          endless.reader.push(piece);
      }).toThrow("too long");
    }
  });

  test("may come after 32 others that are for the meantime, not after more", () => {
    const interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    for (const join of [true, false]) {
      const { read, push } = reading();
      if (join) push(interim.repeat(32));
      else for (let i = 0; i < 32; i++) push(interim);
      push("HTTP/1.1 204 None\r\n\r\n");
      expect([read.heads.length, read.ends]).toEqual([1, 1]);
    }
    expect(() => reading().push(interim.repeat(33))).toThrow(UnreadableAnswer);
  });
});

describe("a body in chunks", () => {
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

  test.each([
    ["no size", "\r\n"],
    ["no size but an extension", ";a\r\n"],
    ["a size below 0", "-1\r\n"],
    ["a size with a sign", "+1\r\nx\r\n"],
    ["a size in other digits", "0x1\r\nx\r\n"],
    ["a size that is a word", "one\r\n"],
    ["a space before its size", " 1\r\nx\r\n"],
    ["a size beyond numbers", "ffffffffffffffff\r\n"],
    ["a size with too many digits", "0".repeat(5_000)],
    ["an endless extension", `1;${"a".repeat(5_000)}`],
    ["more bytes than its size", "1\r\nxy\r\n0\r\n\r\n"],
    ["two CR behind it", "1\r\nx\r\r\n0\r\n\r\n"],
    ["nothing between it and the next", "1\r\nx1\r\ny\r\n"],
    ["an empty line before its size", "1\r\nx\r\n\r\n1\r\n"],
    ["endless trailers", `0\r\n${"a: b\r\n".repeat(12_000)}`],
    ["an endless trailer", `0\r\na: ${"b".repeat(66_000)}`],
    ["bytes behind the last", "0\r\n\r\nx"],
  ])("one with %s is none", (what, text) => {
    for (const sizes of [[], [1]]) {
      const { reader, read } = reading();
      expect(() => {
        for (const piece of piecesOf(Buffer.from(head + text), sizes)) reader.push(piece);
      }).toThrow(UnreadableAnswer);
      expect(read.ends).toBe(what === "bytes behind the last" ? 1 : 0);
    }
  });

  test("gives all data of a piece at once", () => {
    const given: number[] = [];
    const reader = new AnswerReader({
      head: () => {},
      data: (bytes) => void given.push(bytes.length),
      end: () => void given.push(-1),
    });
    reader.expect("GET");
    reader.push(Buffer.from(`${head}2\r\nab\r\n3\r\ncde\r\n1\r\nf`));
    reader.push(Buffer.from("\r\n0\r\n\r\n"));
    expect(given).toEqual([6, -1]);
  });
});

test("bytes that nobody asked for are told from an answer", () => {
  const { reader, read } = reading();
  const answer = plainAnswer("ok");
  expect(() => reader.push(Buffer.concat([answer, answer]))).toThrow("nobody asked for");
  expect([read.heads.length, read.ends, read.body().toString()]).toEqual([1, 1, "ok"]);
});
