import { describe, expect, test } from "bun:test";

import type { Clock } from "../../src/clock.ts";
import { createControl } from "../../src/control/control.ts";
import { isLoopback } from "../../src/control/guard.ts";
import type { ControlCaller, ControlSources } from "../../src/control/sources.ts";
import type { Stats } from "../../src/observe/stats.ts";

const clock: Clock = { now: () => Date.UTC(2030, 0, 1, 0, 1, 30), at: () => () => {} };
const stats: Stats = {
  cache: { item_count: 0, size_bytes: 0, ttl: 0, hits: 0, misses: 0 },
  rate_limit: 0,
  proxy_url: null,
  openai_url: "https://api.openai.com",
  quotas: [
    {
      name: "cerebras",
      windows: [
        { unit: "requests", window: "minute", limit: 100, used: 40, reserved: 10, remaining: 50 },
      ],
      queue_depth: 2,
      circuit: "closed",
      learned: null,
    },
  ],
  clients: { tracked: 1, limited: 0 },
};

function raise(message: string): never {
  throw new Error(message);
}

function sources(change: Partial<ControlSources> = {}): ControlSources {
  return {
    version: "1.2.3",
    startedAt: Date.UTC(2030, 0, 1),
    clock,
    ready: () => true,
    stats: () => stats,
    clearCache: () => 3,
    limits: () => [{ name: "*.example.com", rpm: 5 }],
    changeLimit: (name, given) =>
      name === "broken"
        ? raise("disk full")
        : name !== "*.example.com"
          ? null
          : JSON.stringify(given) === '{"rpm":7}'
            ? { limit: { name, rpm: 7 } as { name: string } }
            : { problem: "rpm: must be a whole number" },
    client: (id) => (id === "ip:::1" || id === "header:a/b" ? { id } : null),
    resetClient: (id) => id === "ip:::1",
    metrics: {
      text: () => Promise.resolve("cooldown_x 1\n"),
      contentType: "text/plain; version=0.0.4; charset=utf-8",
    },
    adminToken: () => "hunter2",
    trustedProxies: () => [],
    ...change,
  };
}

interface Ask extends Partial<ControlCaller> {
  method?: string;
  body?: string;
  headers?: Record<string, string>;
  sources?: Partial<ControlSources>;
}

async function ask(
  path: string,
  { method = "GET", headers = {}, body, sources: change, ...caller }: Ask = {},
) {
  const request = new Request(`http://localhost:8080${path}`, {
    method,
    headers,
    body: body ?? null,
  });
  const response = await createControl(sources(change)).fetch(request, {
    peer: "127.0.0.1",
    ...caller,
  });
  const text = await response.text();
  const json = (): any => JSON.parse(text) as unknown;
  return { status: response.status, headers: response.headers, text, json };
}

describe("/health", () => {
  const health = {
    status: "healthy",
    service: "cooldown",
    version: "1.2.3",
    uptime_seconds: 90,
    timestamp: "2030-01-01T00:01:30.000Z",
  };
  test("says that it is alive, also when it takes no requests", async () => {
    const answer = await ask("/health", { sources: { ready: () => false } });
    expect([answer.status, answer.json()]).toEqual([200, health]);
    expect(answer.headers.get("content-type")).toStartWith("application/json");
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });
  test.each([
    ["/health?ready=1", true, 200, "healthy"],
    ["/health?ready=1", false, 503, "unavailable"],
    ["/health?ready", false, 503, "unavailable"],
    ["/health?ready=0", false, 200, "healthy"],
  ] as const)("%s, ready %p: %i %s", async (path, ready, status, word) => {
    const answer = await ask(path, { sources: { ready: () => ready } });
    expect([answer.status, answer.json()]).toEqual([status, { ...health, status: word }]);
  });
});

test("/stats is what the program says", async () => {
  expect((await ask("/stats")).json()).toEqual(stats);
});

describe("/metrics", () => {
  test.each([
    [undefined, "text/plain; version=0.0.4; charset=utf-8"],
    ["*/*", "text/plain; version=0.0.4; charset=utf-8"],
    [
      "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
      "text/plain; version=0.0.4; charset=utf-8",
    ],
    ["application/json;q=0, text/plain", "text/plain; version=0.0.4; charset=utf-8"],
    ["application/json", "application/json"],
    ["text/html, Application/JSON; charset=utf-8", "application/json"],
  ])("Accept: %s gives %s", async (accept, type) => {
    const answer = await ask("/metrics", { headers: accept === undefined ? {} : { accept } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe(type);
    expect(answer.headers.get("vary")).toBe("Accept");
  });
  test("text is the registry's, JSON is flat", async () => {
    expect((await ask("/metrics")).text).toBe("cooldown_x 1\n");
    expect((await ask("/metrics", { headers: { accept: "application/json" } })).json()).toEqual({
      cerebras_queue_depth: 2,
      cerebras_rpm_usage: 0.5,
      cerebras_tpm_usage: 0,
      cerebras_circuit_breaker_open: false,
    });
  });
});

describe("what is not there", () => {
  test.each(["/", "/nothing", "/stats/x", "/metrics/"])("%s is 404", async (path) => {
    const answer = await ask(path, { requestId: "r-7" });
    expect(answer.status).toBe(404);
    expect(answer.json()).toEqual({
      error: {
        message: expect.any(String),
        type: "not_found_error",
        code: "NOT_FOUND",
        request_id: "r-7",
      },
    });
    expect(answer.headers.get("x-cooldown-error")).toBe("NOT_FOUND");
    expect(answer.headers.get("x-cooldown-request-id")).toBe("r-7");
  });
  test("the message says where APIs and routes are", async () => {
    expect((await ask("/chat/completions")).json().error.message).toBe(
      "There is nothing at /chat/completions of Cooldown itself. APIs are at /v1/... and /proxy/<host>/..., or behind " +
        "their own Host header; what Cooldown tells is at /health, /stats, /metrics, /api/limits.",
    );
  });
  test.each(["POST", "DELETE", "PUT", "OPTIONS", "PATCH"])(
    "%s /stats is 405 with Allow",
    async (method) => {
      const answer = await ask("/stats", { method });
      expect(answer.status).toBe(405);
      expect(answer.headers.get("allow")).toBe("GET, HEAD");
      expect(answer.json().error.request_id).toMatch(/\S/);
    },
  );
});

test("DELETE /cache says how many answers there were", async () => {
  const answer = await ask("/cache", { method: "DELETE" });
  expect(answer.json()).toEqual({ message: "Cache cleared successfully", removed: 3 });
  expect((await ask("/cache")).headers.get("allow")).toBe("DELETE");
});

describe("limits", () => {
  test("are listed, and shown by their names", async () => {
    expect((await ask("/api/limits")).json()).toEqual({
      limits: [{ name: "*.example.com", rpm: 5 }],
    });
    expect((await ask("/api/limits/*.example.com")).json().rpm).toBe(5);
    expect((await ask("/api/limits/%2A.example.com")).json().rpm).toBe(5);
    expect((await ask("/api/limits/other")).json().error.code).toBe("NOT_FOUND");
  });

  test.each([
    ["*.example.com", '{"rpm":7}', 200, undefined],
    ["*.example.com", '{"rpm":"x"}', 400, "INVALID_REQUEST"],
    ["*.example.com", "not JSON", 400, "INVALID_REQUEST"],
    ["*.example.com", "", 400, "INVALID_REQUEST"],
    ["*.example.com", `{"rpm":7,"x":"${"x".repeat(70_000)}"}`, 400, "INVALID_REQUEST"],
    ["other", '{"rpm":7}', 404, "NOT_FOUND"],
    ["broken", '{"rpm":7}', 503, "STORE_UNAVAILABLE"],
  ])("PATCH %s %p is %d %p", async (name, body, status, code) => {
    const answer = await ask(`/api/limits/${name}`, { method: "PATCH", body });
    expect([answer.status, answer.json().error?.code]).toEqual([status, code]);
    if (status === 200) expect(answer.json()).toEqual({ name, rpm: 7 });
  });
});

test("clients are shown and reset by their ids, encoded where they have to be", async () => {
  expect((await ask("/api/clients/ip:::1")).json()).toEqual({ id: "ip:::1" });
  expect((await ask("/api/clients/header:a%2Fb")).json()).toEqual({ id: "header:a/b" });
  expect((await ask("/api/clients/ip:::1", { method: "DELETE" })).status).toBe(200);
  const unknown = await ask("/api/clients/key:x", { method: "DELETE" });
  expect([unknown.status, unknown.json().error.code]).toEqual([404, "NOT_FOUND"]);
  expect((await ask("/api/clients/key:x")).status).toBe(404);
  expect((await ask("/api/clients/key:x", { method: "POST" })).headers.get("allow")).toBe(
    "GET, HEAD, DELETE",
  );
});

test.each(["/health", "/stats", "/metrics", "/nothing"])(
  "HEAD %s is GET without the body",
  async (path) => {
    const [head, get] = [await ask(path, { method: "HEAD" }), await ask(path)];
    expect([head.status, head.headers.get("content-type")]).toEqual([
      get.status,
      get.headers.get("content-type"),
    ]);
    if (path !== "/nothing") expect(head.text).toBe("");
  },
);

test("a failing source is an error answer, not a dropped connection", async () => {
  const answer = await ask("/stats", {
    sources: {
      stats: () => {
        throw new Error("the store is gone");
      },
    },
  });
  expect([answer.status, answer.json().error.message]).toEqual([
    500,
    "The control route failed: the store is gone",
  ]);
});

describe("from another machine", () => {
  const remote = { peer: "192.168.1.9" };
  test.each([
    ["/health", undefined, 200],
    ["/stats", undefined, 401],
    ["/metrics", undefined, 401],
    ["/nothing", undefined, 401],
    ["/stats", "Bearer wrong", 401],
    ["/stats", "Bearer hunter", 401],
    ["/stats", "Bearer hunter22", 401],
    ["/stats", "Basic hunter2", 401],
    ["/stats", "hunter2", 401],
    ["/stats", "Bearer hunter2", 200],
    ["/stats", "bearer  hunter2", 200],
    ["/nothing", "Bearer hunter2", 404],
  ] as const)("%s with %p is %i", async (path, authorization, status) => {
    const answer = await ask(path, {
      ...remote,
      headers: authorization === undefined ? {} : { authorization },
    });
    expect(answer.status).toBe(status);
    expect(answer.headers.get("www-authenticate")).toBe(
      status === 401 ? 'Bearer realm="cooldown"' : null,
    );
    if (status === 401) expect(answer.json().error.code).toBe("UNAUTHORIZED");
  });
  test.each([null, ""])("with the token %p set, all but /health is 403", async (token) => {
    const none = {
      ...remote,
      sources: { adminToken: () => token },
      headers: { authorization: "Bearer " },
    };
    expect((await ask("/health", none)).status).toBe(200);
    const refused = await ask("/stats", none);
    expect(refused.status).toBe(403);
    expect(refused.json().error.message).toContain("server.admin_token");
  });
  test.each([
    [{ "X-Forwarded-For": "127.0.0.1" }, [], 401],
    [{ "X-Forwarded-For": "" }, [], 401],
    [{ Forwarded: "for=127.0.0.1" }, [], 401],
    [{ "X-Real-IP": "127.0.0.1" }, [], 401],
    [{ "X-Forwarded-For": "127.0.0.1" }, ["127.0.0.0/8"], 200],
    [{ "X-Forwarded-For": "::1, 127.0.0.1" }, ["127.0.0.0/8"], 200],
    [{ "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1" }, ["127.0.0.0/8"], 200],
    [{ "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "192.168.1.9" }, ["127.0.0.0/8"], 401],
    [{ "X-Forwarded-For": "127.0.0.1" }, ["10.0.0.0/8"], 401],
    [{ "X-Forwarded-For": "192.168.1.9" }, ["127.0.0.0/8"], 401],
    [{ "X-Forwarded-For": "127.0.0.1, 192.168.1.9" }, ["127.0.0.0/8"], 401],
    [{ "X-Forwarded-For": "192.168.1.9, 127.0.0.1" }, ["127.0.0.0/8"], 401],
    [{ "X-Forwarded-For": "unknown" }, ["127.0.0.0/8"], 401],
    [{ "X-Forwarded-For": "" }, ["127.0.0.0/8"], 401],
    [{ Forwarded: "for=127.0.0.1" }, ["127.0.0.0/8"], 401],
  ] as const)("from this machine with %p, %p trusted: %i", async (headers, trusted, status) => {
    const change = { trustedProxies: () => trusted };
    expect((await ask("/stats", { headers, sources: change })).status).toBe(status);
    expect((await ask("/health", { headers, sources: change })).status).toBe(200);
    const token = { ...headers, Authorization: "Bearer hunter2" };
    expect((await ask("/stats", { headers: token, sources: change })).status).toBe(200);
  });

  test("an unknown peer is remote; this machine needs no token", async () => {
    expect((await ask("/stats", { peer: null })).status).toBe(401);
    expect((await ask("/stats", { sources: { adminToken: () => null } })).status).toBe(200);
  });
});

test.each([
  ["127.0.0.1", true],
  ["127.8.9.10", true],
  ["::1", true],
  ["0:0:0:0:0:0:0:1", true],
  ["::ffff:127.0.0.1", true],
  ["::FFFF:7f00:1", true],
  ["::ffff:10.0.0.1", false],
  ["::127.0.0.1", false],
  ["10.0.0.1", false],
  ["0.0.0.0", false],
  ["::", false],
  ["127.1", false],
  ["localhost", false],
  ["", false],
  [null, false],
])("%p is this machine: %p", (address, expected) => {
  expect(isLoopback(address)).toBe(expected);
});

describe("Origin", () => {
  test.each([
    ["https://evil.example", 403],
    ["http://localhost:9090", 403],
    ["http://localhost", 403],
    ["https://localhost:8080", 403],
    ["null", 403],
    ["", 403],
    ["http://localhost:8080", 200],
  ] as const)("%p is %i on every route, with no CORS header", async (origin, status) => {
    for (const path of ["/stats", "/health", "/metrics"]) {
      const answer = await ask(path, { headers: { origin } });
      expect(answer.status).toBe(status);
      expect(
        [...answer.headers.keys()].filter((name) => name.startsWith("access-control-")),
      ).toEqual([]);
      if (status === 403) expect(answer.headers.get("x-cooldown-error")).toBe("ORIGIN_NOT_ALLOWED");
    }
  });
  test("a preflight is refused too, and a token does not help", async () => {
    const headers = { origin: "https://evil.example", authorization: "Bearer hunter2" };
    expect((await ask("/stats", { method: "OPTIONS", headers })).status).toBe(403);
    expect((await ask("/stats", { peer: "10.0.0.1", headers })).status).toBe(403);
  });
});
