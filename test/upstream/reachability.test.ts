import { expect, test } from "bun:test";
import { createReachability } from "../../src/upstream/reachability.ts";
import { manualClock } from "./manual-clock.ts";
import { rawServer } from "./raw-server.ts";

test("a host that accepts is reachable, and is asked once for a while", async () => {
  const clock = manualClock();
  await using server = await rawServer();
  const reachability = createReachability(clock, 1000);
  const all = await Promise.all([1, 2, 3].map(() => reachability.check(`${server.url}/x`)));
  expect(all).toEqual([true, true, true]);
  expect(await reachability.check(`${server.url}/y`)).toBe(true);
  expect(server.connections.length).toBeLessThanOrEqual(1);
  clock.advance(1000);
  expect(await reachability.check(server.url)).toBe(true);
  await server.connections.at(-1)?.closed;
});

test("one that refuses is left to the call itself to report", async () => {
  const server = await rawServer();
  await server[Symbol.asyncDispose]();
  expect(await createReachability(manualClock(), 1000).check(server.url)).toBe(true);
});

test("one that does not accept in time is not reachable", async () => {
  const clock = manualClock();
  await using server = await rawServer();
  const result = createReachability(clock, 1000).check(server.url);
  clock.advance(1000);
  expect(await result).toBe(false);
});
