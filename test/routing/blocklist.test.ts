import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UsageError } from "../../src/errors.ts";
import { createBlocklist, createNoProxy } from "../../src/routing/blocklist.ts";
import { parseHost } from "../../src/routing/host.ts";

const domains = [
  "Exact.Example.",
  "*.wild.example",
  "port.example:8443",
  "bücher.example",
  "*.Übung.example",
  "127.0.0.1",
  "[2001:DB8::1]",
  "2001:db8::2",
];

describe("hosts", () => {
  const { blocksHost } = createBlocklist(domains, []);
  test.each([
    ["exact.example", true],
    ["EXACT.example.", true],
    ["exact.example:443", true],
    ["sub.exact.example", false],
    ["inexact.example", false],
    ["wild.example", false],
    ["a.wild.example", true],
    ["a.b.Wild.Example.", true],
    ["awild.example", false],
    ["port.example", false],
    ["port.example:443", false],
    ["port.example:8443", true],
    ["xn--bcher-kva.example", true],
    ["x.xn--bung-zra.example", true],
    ["xn--bung-zra.example", false],
    ["127.0.0.1", true],
    ["127.1", true],
    ["0x7f.1:80", true],
    ["2130706433", true],
    ["[::ffff:127.0.0.1]", true],
    ["127.0.0.2", false],
    ["[2001:db8:0:0::1]", true],
    ["[2001:db8::2]:443", true],
    ["[2001:db8::3]", false],
  ])("%p is blocked: %p", (host, blocked) => {
    expect(blocksHost(parseHost(host)!)).toBe(blocked);
  });

  test("nothing is blocked by an empty list", () => {
    expect(createBlocklist([], []).blocksHost({ name: "a.example", port: 443 })).toBe(false);
  });

  test("a wildcard is all names below its own, and no other", () => {
    const label = fc.stringMatching(/^[a-z0-9]{1,8}$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 4 }), (labels) => {
        const name = labels.join(".");
        expect(blocksHost({ name: `${name}.wild.example`, port: 443 })).toBe(true);
        expect(blocksHost({ name: `${name}.tame.example`, port: 443 })).toBe(false);
        expect(blocksHost({ name: `${name}wild.example`, port: 443 })).toBe(false);
      }),
    );
  });
});

describe("clients", () => {
  const { blocksClient } = createBlocklist(
    [],
    ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "::ffff:172.16.0.0/108", "203.0.113.9/24"],
  );
  test.each([
    ["10.1.2.3", true],
    ["::ffff:10.1.2.3", true],
    ["::ffff:a01:203", true],
    ["11.0.0.1", false],
    ["192.0.2.7", true],
    ["192.0.2.8", false],
    ["2001:db8:1::5", true],
    ["2001:DB8:1::5", true],
    ["2001:db9::1", false],
    ["::1", true],
    ["fe80::1%eth0", false],
    ["172.31.255.255", true],
    ["172.32.0.0", false],
    ["203.0.113.200", true],
    ["no address", false],
    [null, false],
  ])("%p is blocked: %p", (address, blocked) => {
    expect(blocksClient(address)).toBe(blocked);
  });

  test("0.0.0.0/0 is all of IPv4 and nothing else", () => {
    const { blocksClient } = createBlocklist([], ["0.0.0.0/0"]);
    expect(["1.2.3.4", "255.255.255.255", "::ffff:1.2.3.4"].map(blocksClient)).toEqual([
      true,
      true,
      true,
    ]);
    expect(blocksClient("2001:db8::1")).toBe(false);
  });

  test("a range holds exactly the addresses with its prefix", () => {
    const address = fc.nat({ max: 0xffff_ffff });
    const dotted = (n: number) => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join(".");
    fc.assert(
      fc.property(address, address, fc.integer({ min: 0, max: 32 }), (network, client, bits) => {
        const { blocksClient } = createBlocklist([], [`${dotted(network)}/${bits}`]);
        const expected = bits === 0 || (network ^ client) >>> (32 - bits) === 0;
        expect(blocksClient(dotted(client))).toBe(expected);
        expect(blocksClient(`::ffff:${dotted(client)}`)).toBe(expected);
      }),
    );
  });
});

test.each([
  "",
  "*",
  "*.",
  "a..b",
  "http://x.com",
  "x.com/path",
  "*.*.com",
  "a.*.com",
  "x.com:0",
  "x.com:99999",
  "*.x.com:443",
  "*.1.2.3.4",
  "[1.2.3.4",
  "user@x.com",
  "a b",
])("refuses the domain %p", (domain) => {
  expect(() => createBlocklist([domain], [])).toThrow(UsageError);
  expect(() => createBlocklist([domain], [])).toThrow(/forward_proxy\.blocklist/);
});

test.each([
  "",
  "10.0.0.0/33",
  "::1/129",
  "10.0.0",
  "10.0.0.0/-1",
  "10.0.0.0/8/8",
  "x.com",
  "fe80::1%eth0",
  "10.0.0.0/",
])("refuses the network %p", (network) => {
  expect(() => createBlocklist([], [network])).toThrow(UsageError);
});

describe("NO_PROXY", () => {
  test.each([
    [["example.com"], "example.com", true],
    [["example.com"], "api.example.com:443", true],
    [["example.com"], "badexample.com", false],
    [[".example.com"], "api.example.com", true],
    [["*.example.com"], "a.b.example.com", true],
    [["example.com:8080"], "example.com:8080", true],
    [["example.com:8080"], "example.com:443", false],
    [["10.0.0.0/8"], "10.9.8.7:443", true],
    [["10.0.0.0/8"], "11.9.8.7", false],
    [["::1"], "[::1]:443", true],
    [["localhost"], "localhost:9", true],
    [["*"], "anything.example", true],
    [["", " example.com "], "example.com", true],
    [["???", "10.0.0.0/99"], "example.com", false],
    [[], "example.com", false],
  ])("%p: %p goes direct: %p", (entries, host, direct) => {
    expect(createNoProxy(entries)(parseHost(host)!)).toBe(direct);
  });
});
