import { expect, test } from "bun:test";
import { Backlog } from "../../src/server/tunnel-backlog.ts";
import { FakeClock } from "../clock.ts";

const piece = 512 * 1024;
const most = 16 * 1024 * 1024;

/** A backlog where each of `count` tunnels wants to read. */
function crowd(count: number): { clock: FakeClock; backlog: Backlog; reads: number[] } {
  const clock = new FakeClock();
  const backlog = new Backlog(clock);
  const reads: number[] = [];
  for (let i = 0; i < count; i++) backlog.next(() => void reads.push(i));
  return { clock, backlog, reads };
}

test("no more read at once than what they may read has room", () => {
  const { reads } = crowd(1_000);
  expect(reads).toEqual(Array.from({ length: most / piece }, (_, i) => i));
});

test("what is taken lets the next ones read, in the order in which they came", () => {
  const { backlog, reads } = crowd(40);
  for (let i = 0; i < 32; i++) backlog.hold(piece);
  backlog.release(piece);
  backlog.release(piece);
  expect(reads.slice(32)).toEqual([32, 33]);
});

test("where nothing is taken, one still reads in each turn, and nothing is missed", () => {
  const { clock, backlog, reads } = crowd(36);
  for (let i = 0; i < 32; i++) backlog.hold(piece);
  clock.advance(10);
  expect(reads).toHaveLength(33);
  clock.advance(30);
  expect(reads).toHaveLength(36);
  expect(clock.pending).toBe(0);
});

test("those that were let go and have nothing to read do not keep the others", () => {
  const { clock, reads } = crowd(100);
  clock.advance(10);
  expect(reads.length).toBeGreaterThan(60);
  clock.advance(20);
  expect(reads).toHaveLength(100);
});
