import { expect, test } from "bun:test";
import fc from "fast-check";
import { addressOf, classify } from "../../src/routing/address.ts";

test.each([
  ["127.0.0.1", "loopback"],
  ["127.1", "loopback"],
  ["127.255.255.255", "loopback"],
  ["2130706433", "loopback"],
  ["0x7f.1", "loopback"],
  ["0x7f000001", "loopback"],
  ["0X7F.0.0.0x1", "loopback"],
  ["0177.0.0.1", "loopback"],
  ["017700000001", "loopback"],
  ["127.0.0.1.", "loopback"],
  ["[::1]", "loopback"],
  ["::1", "loopback"],
  ["[0:0:0:0:0:0:0:1]", "loopback"],
  ["[::ffff:127.0.0.1]", "loopback"],
  ["[::ffff:7f00:1]", "loopback"],
  ["[::127.0.0.1]", "loopback"],
  ["[::ffff:0:127.0.0.1]", "loopback"],
  ["[64:ff9b::127.0.0.1]", "loopback"],
  ["[64:ff9b::a9fe:a9fe]", "link-local"],
  ["0.0.0.0", "unspecified"],
  ["0", "unspecified"],
  ["0.1.2.3", "unspecified"],
  ["[::]", "unspecified"],
  ["[::ffff:0.0.0.0]", "unspecified"],
  ["169.254.169.254", "link-local"],
  ["[fe80::1]", "link-local"],
  ["fe80::1%eth0", "link-local"],
  ["[febf::1]", "link-local"],
  ["10.1.2.3", "private"],
  ["172.16.0.1", "private"],
  ["172.31.255.255", "private"],
  ["192.168.0.1", "private"],
  ["198.18.0.1", "private"],
  ["198.19.255.255", "private"],
  ["[fec0::1]", "private"],
  ["[64:ff9b:1::1]", "private"],
  ["100.64.0.1", "shared"],
  ["100.127.255.255", "shared"],
  ["[fd00::1]", "unique-local"],
  ["[fc00::]", "unique-local"],
  ["[fd00:ec2::254]", "unique-local"],
  ["224.0.0.1", "multicast"],
  ["239.255.255.255", "multicast"],
  ["[ff02::1]", "multicast"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "reserved"],
  ["192.0.0.1", "reserved"],
  ["192.0.2.1", "reserved"],
  ["198.51.100.1", "reserved"],
  ["203.0.113.1", "reserved"],
  ["192.88.99.1", "reserved"],
  ["[2002:7f00:1::]", "reserved"],
  ["[2001::1]", "reserved"],
  ["[2001:db8::1]", "reserved"],
  ["[100::1]", "reserved"],
  ["[::1:2:3]", "reserved"],
  ["168.63.129.16", "reserved"],
  ["0xa83f8110", "reserved"],
  ["[::ffff:168.63.129.16]", "reserved"],
  ["[64:ff9b::168.63.129.16]", "reserved"],
  ["168.63.129.15", "public"],
  ["168.63.129.17", "public"],
  ["256.0.0.1", "reserved"],
  ["1.2.3.4.5", "reserved"],
  ["0x", "unspecified"],
  ["[:::]", "reserved"],
  ["[1::2::3]", "reserved"],
  ["99999999999", "reserved"],
  ["8.8.8.8", "public"],
  ["134744072", "public"],
  ["172.15.255.255", "public"],
  ["172.32.0.0", "public"],
  ["100.63.255.255", "public"],
  ["100.128.0.0", "public"],
  ["126.255.255.255", "public"],
  ["128.0.0.0", "public"],
  ["223.255.255.255", "public"],
  ["11.0.0.0", "public"],
  ["[2606:4700:4700::1111]", "public"],
  ["[::ffff:8.8.8.8]", "public"],
  ["[64:ff9b::8.8.8.8]", "public"],
  ["[2a00:1450::]", "public"],
])("%p is %p", (text, kind) => {
  expect(classify(addressOf(text) ?? "not an address")).toBe(kind as ReturnType<typeof classify>);
});

test.each(["example.com", "localhost", "127.0.0.1.example.com", "1.com", "x1", "0xg", "7f000001h"])(
  "%p is a name",
  (text) => {
    expect(addressOf(text)).toBeNull();
  },
);

test("every spelling of an IPv4 address is that address", () => {
  const byte = fc.nat(255);
  const spell = fc.constantFrom<(part: number) => string>(
    String,
    (n) => `0x${n.toString(16)}`,
    (n) => `0${n.toString(8)}`,
  );
  fc.assert(
    fc.property(
      byte,
      byte,
      byte,
      byte,
      fc.array(spell, { minLength: 4, maxLength: 4 }),
      fc.integer({ min: 1, max: 4 }),
      (a, b, c, d, spells, count) => {
        const parts = [a, b, c, d];
        const kept = parts.slice(0, count - 1);
        const last = parts.slice(count - 1).reduce((sum, part) => sum * 256 + part, 0);
        const text = [...kept, last].map((part, index) => spells[index]!(part)).join(".");
        expect(addressOf(text)).toBe(parts.join("."));
        expect(classify(addressOf(`[::ffff:${parts.join(".")}]`)!)).toBe(classify(parts.join(".")));
      },
    ),
  );
});
