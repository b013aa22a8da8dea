import { describe, expect, test } from "bun:test";

import { addressSet, formatAddress, parseAddress } from "../../src/client/address.ts";
import { createClientAddress } from "../../src/client/forwarded.ts";
import type { IdentityConfig } from "../../src/client/identity.ts";
import { createIdentifier } from "../../src/client/identity.ts";
import { priorityWithin } from "../../src/client/tier.ts";
import { ProxyError } from "../../src/errors.ts";

const sha256 = (text: string): string => new Bun.CryptoHasher("sha256").update(text).digest("hex");
const anonymous = (key: string): string => `anon:${sha256(key).slice(0, 12)}`;
const from = (peer: string | null) => ({ peer: () => peer });
const free = { rpm: 20, tpm: 10_000, priority: "low", weight: 0.5 } as const;

function identifier(config: Partial<IdentityConfig> = {}) {
  return createIdentifier({
    identify_by: ["api_key", "ip"],
    require_key: false,
    keys: [
      { name: "ci", key: "virtual-ci", key_sha256: null, tier: "free" },
      { name: "web", key: null, key_sha256: sha256("virtual-web"), tier: null },
    ],
    tiers: { free },
    trusted_proxies: [],
    ...config,
  });
}

describe("keys", () => {
  const cases: {
    fields: Record<string, string>;
    id: string;
    credential?: string;
    keyHeaders?: string[];
  }[] = [
    { fields: {}, id: "ip:10.0.0.1" },
    { fields: { authorization: "" }, id: "ip:10.0.0.1" },
    { fields: { authorization: "Bearer" }, id: "ip:10.0.0.1" },
    { fields: { authorization: "Bearer sk-1" }, id: anonymous("sk-1") },
    { fields: { authorization: "bearer  sk-1" }, id: anonymous("sk-1") },
    { fields: { authorization: "token ghp" }, id: anonymous("token ghp") },
    { fields: { "x-api-key": "sk-1" }, id: anonymous("sk-1") },
    { fields: { "api-key": "sk-1" }, id: anonymous("sk-1") },
    { fields: { "x-goog-api-key": "sk-1" }, id: anonymous("sk-1") },
    {
      fields: { "x-cooldown-key": "other", authorization: "Bearer sk-1" },
      id: anonymous("sk-1"),
      credential: anonymous("sk-1"),
    },
    { fields: { "x-cooldown-key": "virtual-ci" }, id: "key:ci", credential: "none" },
    {
      fields: { "x-cooldown-key": "virtual-web", authorization: "Bearer sk-1" },
      id: "key:web",
      credential: anonymous("sk-1"),
    },
    {
      fields: { authorization: "Bearer virtual-ci" },
      id: "key:ci",
      credential: "none",
      keyHeaders: ["authorization"],
    },
    {
      fields: { "x-api-key": "virtual-web", authorization: "Bearer sk-1" },
      id: "key:web",
      credential: anonymous("sk-1"),
      keyHeaders: ["x-api-key"],
    },
    {
      fields: { "x-cooldown-key": "virtual-ci", "x-api-key": "virtual-ci", "api-key": "sk-1" },
      id: "key:ci",
      credential: anonymous("sk-1"),
      keyHeaders: ["x-api-key"],
    },
    {
      fields: { authorization: "Bearer sk-1, Bearer virtual-ci" },
      id: "key:ci",
      credential: "none",
      keyHeaders: ["authorization"],
    },
  ];
  test.each(cases)("$fields", ({ fields, id, credential, keyHeaders }) => {
    const identity = identifier().identify(fields, from("10.0.0.1"));
    expect(identity.id).toBe(id);
    expect(identity.credential).toBe(credential ?? (id.startsWith("ip:") ? "none" : id));
    expect(identity.keyHeaders).toEqual(keyHeaders ?? []);
    expect(identity.name).toBe(id.startsWith("key:") ? id.slice(4) : null);
    expect(identity.tier).toEqual(id === "key:ci" ? { name: "free", ...free } : null);
  });

  test("of 30,000 keys each keeps its name", () => {
    const { identify } = identifier();
    for (const round of [1, 2]) {
      for (let i = 0; i < 15_000 * round; i += 7) {
        const key = `sk-${i}`;
        expect(identify({ "api-key": key }, from(null)).id).toBe(anonymous(key));
      }
    }
  });

  test("where one is required, no other will do, and none is told", () => {
    const { identify } = identifier({ require_key: true });
    const refused = [{}, { authorization: "Bearer sk-secret" }, { "x-cooldown-key": "sk-secret" }];
    for (const fields of refused) {
      try {
        identify(fields, from("10.0.0.1"));
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(ProxyError);
        expect((error as ProxyError).code).toBe("UNAUTHORIZED");
        expect((error as ProxyError).message).not.toContain("secret");
      }
    }
    expect(identify({ "x-api-key": "virtual-web" }, from("10.0.0.1")).id).toBe("key:web");
  });

  test("an identity holds no key", () => {
    const fields = { "x-cooldown-key": "virtual-ci", authorization: "Bearer sk-secret" };
    const shown = JSON.stringify(identifier().identify(fields, from("10.0.0.1")));
    expect(shown).not.toContain("virtual-ci");
    expect(shown).not.toContain("secret");
  });
});

describe("other ways", () => {
  test("the first that a request has counts", () => {
    const { identify } = identifier({ identify_by: ["header:X-User", "ip", "api_key"] });
    const authorization = "Bearer sk-1";
    expect(identify({ "x-user": "ann", authorization }, from("10.0.0.1")).id).toBe("header:ann");
    expect(identify({ "x-user": "", authorization }, from("10.0.0.1")).id).toBe("ip:10.0.0.1");
    expect(identify({ authorization }, from(null)).id).toBe(anonymous("sk-1"));
    expect(identify({}, from(null)).id).toBe("unknown");
  });

  test("a virtual key is worth more than any of them", () => {
    const { identify } = identifier({ identify_by: ["header:x-user"] });
    const fields = { "x-user": "ann", authorization: "Bearer virtual-ci" };
    expect(identify(fields, from("10.0.0.1")).id).toBe("key:ci");
  });

  test("a header that all objects have is none", () => {
    const { identify } = identifier({ identify_by: ["header:constructor", "ip"] });
    expect(identify({}, from("10.0.0.1")).id).toBe("ip:10.0.0.1");
  });

  test("long values differ in their end too", () => {
    const { identify } = identifier({ identify_by: ["header:x-user"] });
    const ids = ["a", "b"].map((end) => {
      const id = identify({ "x-user": "x".repeat(5_000) + end }, from(null)).id;
      expect(id.length).toBe("header:".length + 64);
      return id;
    });
    expect(ids[0]).not.toBe(ids[1]);
  });
});

describe("X-Forwarded-For", () => {
  const trusted = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"];
  const cases: { peer: string; header?: string; client: string }[] = [
    { peer: "10.0.0.1", client: "10.0.0.1" },
    { peer: "203.0.113.9", header: "1.1.1.1", client: "203.0.113.9" },
    { peer: "10.0.0.1", header: "1.1.1.1", client: "1.1.1.1" },
    { peer: "::ffff:10.0.0.1", header: "1.1.1.1", client: "1.1.1.1" },
    { peer: "::ffff:203.0.113.9", header: "1.1.1.1", client: "203.0.113.9" },
    { peer: "192.0.2.7", header: "9.9.9.9, 1.1.1.1", client: "1.1.1.1" },
    { peer: "192.0.2.8", header: "9.9.9.9, 1.1.1.1", client: "192.0.2.8" },
    { peer: "10.0.0.1", header: "9.9.9.9, 1.1.1.1,10.2.3.4 , fd12::1", client: "1.1.1.1" },
    { peer: "10.0.0.1", header: "10.3.3.3, 10.2.3.4", client: "10.3.3.3" },
    { peer: "10.0.0.1", header: "1.1.1.1, nonsense, 10.2.3.4", client: "10.2.3.4" },
    { peer: "10.0.0.1", header: "1.1.1.1, nonsense", client: "10.0.0.1" },
    { peer: "10.0.0.1", header: "1.1.1.1,", client: "10.0.0.1" },
    { peer: "10.0.0.1", header: "", client: "10.0.0.1" },
    { peer: "10.0.0.1", header: "unknown", client: "10.0.0.1" },
    { peer: "10.0.0.1", header: "1.1.1.1:4711", client: "1.1.1.1" },
    { peer: "10.0.0.1", header: "[2001:DB8:0:0::1]:4711", client: "2001:db8::1" },
    { peer: "10.0.0.1", header: "2001:db8::0:1", client: "2001:db8::1" },
    { peer: "10.0.0.1", header: "::ffff:1.1.1.1", client: "1.1.1.1" },
    { peer: "10.0.0.1", header: "[1.1.1.1]", client: "10.0.0.1" },
    { peer: "10.0.0.1", header: "127.1", client: "10.0.0.1" },
    { peer: "fd00::1", header: "2001:db8::1", client: "2001:db8::1" },
    { peer: "fe00::1", header: "2001:db8::1", client: "fe00::1" },
    { peer: "10.0.0.1", header: `${"9.9.9.9, ".repeat(9_000)}1.1.1.1`, client: "1.1.1.1" },
    { peer: "10.0.0.1", header: "9".repeat(100_000), client: "10.0.0.1" },
    { peer: "10.0.0.1", header: `1.1.1.1${",10.1.1.1".repeat(100_000)}`, client: "10.1.1.1" },
  ];
  test.each(cases)("from $peer: $client", ({ peer, header, client }) => {
    expect(createClientAddress(trusted)(peer, header)).toBe(client);
  });

  test("is not read where nobody is trusted", () => {
    expect(createClientAddress([])("10.0.0.1", "1.1.1.1")).toBe("10.0.0.1");
    const { identify } = identifier({ identify_by: ["ip"] });
    expect(identify({ "x-forwarded-for": "1.1.1.1" }, from("10.0.0.1")).id).toBe("ip:10.0.0.1");
  });
});

describe("addresses", () => {
  test.each([
    ["1.2.3.4", "1.2.3.4"],
    ["::ffff:1.2.3.4", "1.2.3.4"],
    ["::FFFF:0102:0304", "1.2.3.4"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
    ["fe80::1%eth0", "fe80::1"],
  ])("%s is %s", (text, written) => {
    const address = parseAddress(text);
    expect(address === null ? null : formatAddress(address)).toBe(written);
  });

  test.each([
    ["0.0.0.0/0", "203.0.113.1", true],
    ["0.0.0.0/0", "2001:db8::1", false],
    ["::/0", "2001:db8::1", true],
    ["::/0", "203.0.113.1", false],
    ["203.0.113.128/25", "203.0.113.127", false],
    ["203.0.113.128/25", "203.0.113.128", true],
    ["172.16.0.0/12", "172.31.255.255", true],
    ["172.16.0.0/12", "172.32.0.0", false],
    ["2001:db8::/33", "2001:db8:7fff::", true],
    ["2001:db8::/33", "2001:db8:8000::", false],
    ["::ffff:10.0.0.0/104", "10.255.0.1", true],
    ["::1", "::1", true],
    ["::1", "::2", false],
  ])("%s has %s: %p", (range, text, isIn) => {
    const address = parseAddress(text);
    expect(address !== null && addressSet([range])(address)).toBe(isIn);
  });
});

test("a tier's priority may only be lowered", () => {
  const tier = { name: "t", rpm: null, tpm: null, weight: 1 };
  const low = { ...tier, priority: "low" } as const;
  const normal = { ...tier, priority: "normal" } as const;
  expect(priorityWithin(null, null)).toBe("normal");
  expect(priorityWithin(null, "high")).toBe("high");
  expect(priorityWithin(normal, null)).toBe("normal");
  expect(priorityWithin(normal, "high")).toBe("normal");
  expect(priorityWithin(normal, "low")).toBe("low");
  expect(priorityWithin(low, "high")).toBe("low");
});
