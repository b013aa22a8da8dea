import { expect, test } from "bun:test";
import fc from "fast-check";
import { PartialText } from "../../src/provider/partial.ts";

const whole = 1 << 20;
const headBytes = 4 << 10;
const tailBytes = 64 << 10;

/** What is reported of `bytes` when they come in pieces of the given sizes, over and over. */
function collected(partial: PartialText, bytes: Buffer, sizes: readonly number[]): string[] {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    const piece = Buffer.from(bytes.subarray(at, at + size));
    partial.add(piece);
    piece.fill(0);
    at += size;
  }
  const reported: string[] = [];
  partial.finish(
    (kept, start, end) => reported.push(kept.toString("latin1", start, end)),
    (head, tail) => reported.push(head, tail),
  );
  return reported;
}

test("reports short text whole and both ends of long text, however it comes", () => {
  const partial = new PartialText();
  const source = Buffer.alloc(4 * whole);
  for (let at = 0; at < source.length; at++) source[at] = (at * 31 + (at >> 9)) % 251;
  fc.assert(
    fc.property(
      fc.oneof(fc.nat(whole), fc.integer({ min: whole + 1, max: source.length })),
      fc.array(fc.integer({ min: 500, max: 200_000 }), { minLength: 1, maxLength: 5 }),
      (length, sizes) => {
        const bytes = source.subarray(0, length);
        const text = bytes.toString("latin1");
        const ends = [text.slice(0, headBytes), text.slice(-tailBytes)];
        // The same collector each time: nothing of one text may be left in the next.
        expect(collected(partial, bytes, sizes)).toEqual(length <= whole ? [text] : ends);
        expect(partial.isEmpty).toBe(true);
      },
    ),
    { numRuns: 40 },
  );
});
