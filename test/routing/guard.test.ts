import { expect, test } from "bun:test";
import type { Clock } from "../../src/clock.ts";
import type { ProxyError } from "../../src/errors.ts";
import { createGuard } from "../../src/routing/guard.ts";

const names: Record<string, string[]> = {
  "api.example.com": ["93.184.216.34", "2606:2800:220:1::1"],
  "mixed.example.com": ["127.0.0.1", "93.184.216.34", "::1", "2606:2800:220:1::1"],
  "evil.example.com": ["127.0.0.1", "10.0.0.1"],
  "mapped.example.com": ["::ffff:10.0.0.1"],
  "scoped.example.com": ["fe80::1%eth0"],
  "odd.example.com": ["not an address"],
  "empty.example.com": [],
};

function setUp() {
  let now = 0;
  const asked: string[] = [];
  const clock: Clock = { now: () => now, at: () => () => {} };
  const lookup = async (name: string): Promise<string[]> => {
    asked.push(name);
    const found = names[name] ?? (/^n\d+\.com$/.test(name) ? ["8.8.8.8"] : null);
    if (found === null) throw new Error("ENOTFOUND");
    return found;
  };
  return {
    guard: createGuard({ lookup, clock }),
    asked,
    advance: (ms: number) => void (now += ms),
  };
}

const codeOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
    return "ok";
  } catch (error) {
    return (error as ProxyError).code;
  }
};

test.each([
  ["localhost", "ADDRESS_NOT_ALLOWED"],
  ["a.localhost", "ADDRESS_NOT_ALLOWED"],
  ["127.1", "ADDRESS_NOT_ALLOWED"],
  ["[::ffff:127.0.0.1]", "ADDRESS_NOT_ALLOWED"],
  ["169.254.169.254", "ADDRESS_NOT_ALLOWED"],
  ["8.8.8.8", "ok"],
  ["[2606:4700::1]", "ok"],
])("decides about %p without asking: %p", async (host, code) => {
  const { guard, asked } = setUp();
  expect(await codeOf(() => guard.check(host))).toBe(code);
  expect(asked).toEqual([]);
});

test.each([
  ["api.example.com", "ok"],
  ["evil.example.com", "ADDRESS_NOT_ALLOWED"],
  ["mapped.example.com", "ADDRESS_NOT_ALLOWED"],
  ["scoped.example.com", "ADDRESS_NOT_ALLOWED"],
  ["odd.example.com", "ADDRESS_NOT_ALLOWED"],
  ["empty.example.com", "UPSTREAM_UNREACHABLE"],
  ["unknown.example.com", "UPSTREAM_UNREACHABLE"],
])("resolves %p: %p", async (host, code) => {
  expect(await codeOf(() => setUp().guard.check(host))).toBe(code);
});

test("a refusal says what to do, whichever was meant", () => {
  expect(() => setUp().guard.check("localhost")).toThrow(
    /\(loopback\).*rate_limits.*server\.hostnames/s,
  );
});

test("gives the public addresses only, in the resolver's order", async () => {
  const { guard } = setUp();
  expect(await guard.check("mixed.example.com")).toEqual(["93.184.216.34", "2606:2800:220:1::1"]);
  expect(await guard.check("8.8.8.8")).toEqual(["8.8.8.8"]);
});

test("a name that does not resolve may be left to another proxy, a guarded one may not", async () => {
  const { guard } = setUp();
  expect(await guard.check("unknown.example.com", "allow")).toEqual([]);
  expect(await codeOf(() => guard.check("evil.example.com", "allow"))).toBe("ADDRESS_NOT_ALLOWED");
  expect(await codeOf(() => guard.check("127.1", "allow"))).toBe("ADDRESS_NOT_ALLOWED");
});

test("asks once for a burst, remembers what is allowed for 30 s, and then answers at once", async () => {
  const { guard, asked, advance } = setUp();
  await Promise.all(Array.from({ length: 5 }, async () => guard.check("api.example.com")));
  expect(guard.check("api.example.com")).toEqual(names["api.example.com"]!);
  advance(29_999);
  expect(guard.check("api.example.com")).toEqual(names["api.example.com"]!);
  advance(1);
  await guard.check("api.example.com");
  expect(asked).toEqual(["api.example.com", "api.example.com"]);
});

test("does not remember refusals and failures", async () => {
  const { guard, asked } = setUp();
  for (const host of [
    "evil.example.com",
    "evil.example.com",
    "unknown.example.com",
    "unknown.example.com",
  ]) {
    expect(await codeOf(() => guard.check(host))).not.toBe("ok");
  }
  expect(asked).toHaveLength(4);
});

test("remembers at most 10,000 names", async () => {
  const { guard, asked } = setUp();
  for (let i = 0; i <= 10_000; i++) await guard.check(`n${i}.com`);
  expect(guard.check("n1.com")).toEqual(["8.8.8.8"]);
  await guard.check("n0.com");
  expect(asked).toHaveLength(10_002);
});
