import { describe, expect, test } from "bun:test";
import type { ProxyError } from "../../src/errors.ts";
import { createBlocklist } from "../../src/routing/blocklist.ts";
import { parseHost } from "../../src/routing/host.ts";
import { createDomainTable, createQuotaTable, pickQuota } from "../../src/routing/rules.ts";
import { createSelf } from "../../src/routing/self.ts";
import type { Listening } from "../../src/routing/self.ts";
import {
  destination,
  routeRequest,
  routeToHost,
  routeToUpstream,
} from "../../src/routing/target.ts";
import type { Routing, Upstreamed } from "../../src/routing/target.ts";

interface Named extends Upstreamed {
  name: string;
}

function routing(
  listening: Partial<Listening> = {},
  openToUnknownDomains = false,
): Routing<Named, Named> {
  const rule = (name: string, upstream: string | null = null): [string, Named] => [
    name,
    { name, upstream },
  ];
  const rules = createDomainTable([
    rule("plain.com"),
    rule("mock.com", "http://127.0.0.1:9000"),
    rule("deep.com", "http://127.0.0.1:9000/base/"),
    rule("*.wild.com"),
    rule("127.0.0.1"),
    rule("*.wildmock.com", "http://127.0.0.1:9001"),
  ]);
  const quotasOf = createQuotaTable([
    {
      domains: ["llm.com"],
      models: ["a*"],
      quota: { name: "a", upstream: "http://127.0.0.1:9002/api" },
    },
    { domains: ["llm.com", "*.llms.com"], models: ["*"], quota: { name: "rest", upstream: null } },
  ]);
  const self = createSelf({
    host: "localhost",
    port: 8080,
    hostnames: [],
    defaultPort: 80,
    machineAddresses: () => ["10.0.0.5", "fe80::1%eth0"],
    ...listening,
  });
  return { self, rules, quotasOf, openToUnknownDomains, known: new Map(), blocks: () => false };
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "ok";
  } catch (error) {
    return (error as ProxyError).code;
  }
}

describe("Cooldown itself", () => {
  const wildcard = { host: "0.0.0.0" };
  test.each<[Partial<Listening>, string, boolean]>([
    [{}, "localhost:8080", true],
    [{}, "LOCALHOST.:8080", true],
    [{}, "127.0.0.1:8080", true],
    [{}, "127.1:8080", true],
    [{}, "[::1]:8080", true],
    [{}, "[0:0::1]:8080", true],
    [{}, "localhost:8081", false],
    [{}, "localhost", false],
    [{}, "10.0.0.5:8080", false],
    [{}, "127.0.0.2:8080", false],
    [{ port: 80 }, "localhost", true],
    [{ port: 443, defaultPort: 443 }, "localhost", true],
    [{ host: "10.0.0.5" }, "10.0.0.5:8080", true],
    [{ host: "::1" }, "[::1]:8080", true],
    [{ host: "box" }, "Box:8080", true],
    [wildcard, "10.0.0.5:8080", true],
    [wildcard, "127.0.0.2:8080", true],
    [wildcard, "10.0.0.6:8080", false],
    [wildcard, "10.0.0.5:81", false],
    [{ host: "::" }, "[fe80::1]:8080", true],
    [wildcard, "0.0.0.0:8080", true],
    [{ hostnames: ["cooldown"] }, "cooldown", true],
    [{ hostnames: ["Cooldown"] }, "cooldown:9999", true],
    [{ hostnames: ["cooldown:81"] }, "cooldown:81", true],
    [{ hostnames: ["cooldown:81"] }, "cooldown", false],
  ])("listening as %p, %p is it: %p", (listening, host, expected) => {
    const open = routing(listening, true);
    expect(routeRequest(open, host, "/health").kind).toBe(expected ? "control" : "upstream");
  });

  test.each([
    ["/health", "control"],
    ["/", "control"],
    ["/v1", "control"],
    ["/v12/x", "control"],
    ["/proxy", "control"],
    ["/v1/chat/completions?a=b", "v1"],
    ["/v1/", "v1"],
    ["/proxy/plain.com/x", "upstream"],
  ])("%p is %p", (target, kind) => {
    expect(routeRequest(routing(), "localhost:8080", target)).toMatchObject({
      kind: kind as "v1",
      target: kind === "upstream" ? "/x" : target,
    });
  });
});

describe("a host or prefix", () => {
  test.each([
    ["plain.com", "/a%20b?x=%2F", "https://plain.com/a%20b?x=%2F", false],
    ["Plain.com:8443", "/", "https://plain.com:8443/", false],
    ["mock.com", "/a?b", "http://127.0.0.1:9000/a?b", false],
    ["deep.com", "/a?b", "http://127.0.0.1:9000/base/a?b", false],
    ["x.wild.com", "/", "https://x.wild.com/", true],
    ["x.wildmock.com", "/", "http://127.0.0.1:9001/", false],
    ["127.0.0.1:9", "/", "https://127.0.0.1:9/", false],
    ["unknown.com", "/", "https://unknown.com/", true],
    ["llm.com", "/x", "https://llm.com/x", false],
    ["x.llms.com", "/x", "https://x.llms.com/x", true],
    ["localhost:8080", "/proxy/plain.com", "https://plain.com/", false],
    ["localhost:8080", "/proxy/plain.com?x=1", "https://plain.com/?x=1", false],
    [
      "localhost:8080",
      "/proxy/plain.com:8443/a//b/?x=/",
      "https://plain.com:8443/a//b/?x=/",
      false,
    ],
    ["localhost:8080", "/proxy/mock.com/a", "http://127.0.0.1:9000/a", false],
    ["localhost:8080", "/proxy/%5B2606%3A%3A1%5D/a", "https://[2606::1]/a", true],
  ])("%p %p goes to %p, guarded: %p", (host, target, url, guarded) => {
    const route = routeRequest(routing(), host, target);
    if (route.kind !== "upstream") throw new Error(route.kind);
    expect(destination(route, pickQuota(route.quotas, ""))).toEqual({ url, guarded });
    expect(route.via).toBe(target.startsWith("/proxy/") ? "proxy" : "host");
  });

  test("a quota's upstream holds for its models", () => {
    const route = routeRequest(routing(), "llm.com", "/v1/x");
    if (route.kind !== "upstream") throw new Error(route.kind);
    expect(destination(route, pickQuota(route.quotas, "a1"))).toEqual({
      url: "http://127.0.0.1:9002/api/v1/x",
      guarded: false,
    });
  });

  test.each([
    ["a.com, b.com", "/"],
    ["user@a.com", "/"],
    ["", "/"],
    ["localhost:8080", "/proxy/"],
    ["localhost:8080", "/proxy//x"],
    ["localhost:8080", "/proxy/a%2Fb/x"],
    ["localhost:8080", "/proxy/%ZZ/x"],
    ["localhost:8080", "/proxy/u@a.com/"],
    ["localhost:8080", "/proxy/localhost:8080/health"],
    ["localhost:8080", "/proxy/127.1:8080/health"],
  ])("%p %p is refused", (host, target) => {
    expect(codeOf(() => routeRequest(routing(), host, target))).toBe("INVALID_REQUEST");
  });

  test("no Host is refused", () => {
    expect(codeOf(() => routeRequest(routing(), null, "/"))).toBe("INVALID_REQUEST");
  });
});

describe("a blocked domain with a port", () => {
  const blocking = (entry: string): Routing<Named, Named> => {
    const { blocksHost } = createBlocklist([entry], []);
    return { ...routing({}, true), blocks: blocksHost };
  };

  test.each([
    ["plain.com:443", "plain.com", true],
    ["plain.com:443", "plain.com:443", true],
    ["plain.com:443", "plain.com:8443", false],
    ["plain.com:80", "plain.com", false],
    ["plain.com:80", "plain.com:80", true],
    ["plain.com", "plain.com:8443", true],
  ])("%p and Host or prefix %p: %p", (entry, host, isBlocked) => {
    const code = isBlocked ? "DOMAIN_BLOCKED" : "ok";
    const table = blocking(entry);
    expect(codeOf(() => routeRequest(table, host, "/"))).toBe(code);
    expect(codeOf(() => routeRequest(table, "localhost:8080", `/proxy/${host}/`))).toBe(code);
  });

  test.each([
    ["plain.com:443", 443, "DOMAIN_BLOCKED"],
    ["plain.com:443", 80, "ok"],
    ["plain.com:80", 443, "ok"],
    ["plain.com:80", 80, "DOMAIN_BLOCKED"],
  ] as const)("%p and a forward proxy's default port of %p: %p", (entry, port, code) => {
    const host = parseHost("plain.com")!;
    expect(codeOf(() => routeToHost(blocking(entry), host, "/", port))).toBe(code);
  });
});

describe("a proxy that serves other machines", () => {
  test.each([
    ["unknown.com", false, "DOMAIN_NOT_ALLOWED"],
    ["unknown.com", true, "ok"],
    ["plain.com", false, "ok"],
    ["x.wild.com", false, "ok"],
    ["llm.com", false, "ok"],
    ["0.0.0.0:8080", false, "ok"],
  ])("asked for %p, open: %p: %p", (host, open, code) => {
    for (const bind of ["0.0.0.0", "::", "10.0.0.5"]) {
      if (bind !== "0.0.0.0" && host.startsWith("0.")) continue;
      expect(codeOf(() => routeRequest(routing({ host: bind }, open), host, "/"))).toBe(code);
    }
  });

  test("says how Cooldown itself could be meant", () => {
    expect(() => routeRequest(routing({ host: "0.0.0.0" }), "box:8080", "/")).toThrow(
      /server\.hostnames/,
    );
  });
});

describe("/v1", () => {
  test.each([
    ["https://api.openai.com", "/v1/models", "https://api.openai.com/v1/models"],
    ["https://api.openai.com/v1", "/v1/models", "https://api.openai.com/v1/models"],
    ["https://openrouter.ai/api/", "/v1/models?x", "https://openrouter.ai/api/v1/models?x"],
    ["http://127.0.0.1:9", "/v1/models", "http://127.0.0.1:9/v1/models"],
    ["https://mock.com", "/v1/models", "http://127.0.0.1:9000/v1/models"],
  ])("to %p: %p goes to %p, unguarded", (upstream, target, url) => {
    const route = routeToUpstream(routing(), upstream, target);
    expect(destination(route, null)).toEqual({ url, guarded: false });
  });

  test("has the rule and quotas of the upstream's host", () => {
    const route = routeToUpstream(routing(), "https://llm.com/v1", "/v1/x");
    expect(route).toMatchObject({ host: "llm.com", hostname: "llm.com", via: "v1" });
    expect(pickQuota(route.quotas, "b")?.quota.name).toBe("rest");
  });
});
