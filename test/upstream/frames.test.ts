import { expect, test } from "bun:test";
import { heapStats } from "bun:jsc";
import fc from "fast-check";
import { clientFrame, closePayload, FrameError, FrameReader } from "../../src/upstream/frames.ts";
import type { FrameKind } from "../../src/upstream/frames.ts";

/** What a reader makes of `bytes`, given in pieces that end at `cuts`. */
function readAll(bytes: Uint8Array, cuts: readonly number[] = []): unknown[] {
  const read: unknown[] = [];
  const reader = new FrameReader({
    text: (message) => void read.push(["text", message]),
    binary: (message) => void read.push(["binary", [...message]]),
    ping: (payload) => void read.push(["ping", [...payload]]),
    pong: (payload) => void read.push(["pong", [...payload]]),
    close: (code, reason) => void read.push(["close", code, reason]),
  });
  try {
    const ends = [...cuts.filter((cut) => cut < bytes.length), bytes.length].sort((a, b) => a - b);
    let start = 0;
    for (const end of ends) {
      reader.push(Buffer.from(bytes.subarray(start, end)));
      start = end;
    }
  } catch (error) {
    read.push(error instanceof FrameError ? error.code : error);
  }
  return read;
}

/** A frame as a server sends it: not masked. */
function serverFrame(opcode: number, payload: Uint8Array, isLast = true): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = (isLast ? 0x80 : 0) | opcode;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

const text = (value: string): Buffer => Buffer.from(value);

test.each<[string, Buffer[], unknown[]]>([
  ["an empty text", [serverFrame(1, text(""))], [["text", ""]]],
  [
    "a message in parts, with a ping between",
    [
      serverFrame(1, text("ä").subarray(0, 1), false),
      serverFrame(9, text("p")),
      serverFrame(0, text("ä").subarray(1)),
    ],
    [
      ["ping", [112]],
      ["text", "ä"],
    ],
  ],
  ["a byte order mark is text", [serverFrame(1, text("\ufeffx"))], [["text", "\ufeffx"]]],
  ["a close without a code", [serverFrame(8, text(""))], [["close", null, ""]]],
  [
    "a close",
    [serverFrame(8, closePayload(4_000, "ö")), serverFrame(1, text("x"))],
    [["close", 4_000, "ö"]],
  ],
  ["a text that is not UTF-8", [serverFrame(1, Buffer.from([0xff]))], [1_007]],
  ["a continuation of nothing", [serverFrame(0, text("x"))], [1_002]],
  [
    "a message inside another",
    [serverFrame(1, text("x"), false), serverFrame(1, text("y"))],
    [1_002],
  ],
  ["a ping in parts", [serverFrame(9, text("x"), false)], [1_002]],
  ["a long ping", [serverFrame(9, Buffer.alloc(126))], [1_002]],
  ["an unknown kind", [serverFrame(3, text("x"))], [1_002]],
  ["an unknown control frame", [serverFrame(11, text("x"))], [1_002]],
  ["a reserved bit", [serverFrame(1 | 0x40, text("x"))], [1_002]],
  ["a mask", [clientFrame("text", text("x"))], [1_002]],
  ["a close of one byte", [serverFrame(8, Buffer.from([3]))], [1_002]],
  ["a length beyond the bound", [Buffer.from([0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0])], [1_009]],
  [
    "parts that together are beyond it",
    [serverFrame(2, Buffer.alloc(20 << 20), false), serverFrame(0, Buffer.alloc(20 << 20))],
    [1_009],
  ],
])("%s", (_, frames, expected) => {
  expect(readAll(Buffer.concat(frames))).toEqual(expected);
});

test("pieces of any size read the same", () => {
  const frames = Buffer.concat([
    serverFrame(2, Buffer.alloc(130, 1)),
    serverFrame(1, text("hello"), false),
    serverFrame(10, text("pong")),
    serverFrame(0, Buffer.alloc(70_000, 0x61)),
    serverFrame(8, closePayload(1_000, "")),
  ]);
  const whole = readAll(frames);
  expect(whole).toHaveLength(4);
  fc.assert(
    fc.property(fc.array(fc.nat(frames.length), { maxLength: 40 }), (cuts) => {
      expect(readAll(frames, cuts)).toEqual(whole);
    }),
    { numRuns: 50 },
  );
});

test("no bytes make the reader throw anything but a FrameError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(300)), (bytes, cuts) => {
      for (const one of readAll(bytes, cuts)) expect(one).not.toBeInstanceOf(Error);
    }),
  );
});

test("what a client's frame says, unmasked, is what was given; no two masks are the same", () => {
  const kinds: FrameKind[] = ["text", "binary", "ping"];
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.nat(70_000), (kind, length) => {
      const payload = Uint8Array.from({ length }, (_, i) => i * 7);
      const kept = payload.slice();
      const frame = clientFrame(kind, payload);
      expect(payload).toEqual(kept);
      const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
      expect(frame[1]! & 0x80).toBe(0x80);
      const mask = frame.subarray(head, head + 4);
      const plain = frame.subarray(head + 4).map((byte, i) => byte ^ mask[i & 3]!);
      expect(Buffer.from(plain).equals(Buffer.from(payload))).toBe(true);
    }),
    { numRuns: 30 },
  );
  const masks = Array.from({ length: 20 }, () =>
    clientFrame("text", text("x")).toString("hex", 2, 6),
  );
  expect(new Set(masks).size).toBeGreaterThan(15);
});

test.each([
  [null, "", 0],
  [1_005, "", 0],
  [1_006, "gone", 0],
  [1_000, "", 2],
  [4_999, "x".repeat(300), 125],
])("the payload of a close with %p %p has %p bytes", (code, reason, length) => {
  expect(closePayload(code, reason)).toHaveLength(length);
});

const ignore = (): void => {};
const sink = { text: ignore, binary: ignore, ping: ignore, pong: ignore, close: ignore };

function objects(): number {
  Bun.gc(true);
  return heapStats().objectCount;
}

const begun = serverFrame(1, text("x"), false);
test.each<[string, Buffer, number, () => Buffer]>([
  ["empty parts of a message", begun, 1, () => Buffer.alloc(400_000)],
  ["parts of one byte", begun, 200_000, () => serverFrame(0, text("x"), false)],
  [
    "pieces of one byte",
    serverFrame(2, Buffer.alloc(300_000)).subarray(0, 10),
    200_000,
    () => Buffer.alloc(1),
  ],
])("%s are not kept one by one", (_, first, times, next) => {
  const reader = new FrameReader(sink);
  reader.push(first);
  const before = objects();
  for (let i = 0; i < times; i++) reader.push(next());
  const kept = objects() - before;
  reader.push(Buffer.alloc(0));
  expect(kept).toBeLessThan(1_000);
});
