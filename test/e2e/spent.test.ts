import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { call } from "./client.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Upstream } from "./upstream.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** How late a held request may come, ms. */
const tolerance = 50;
/** The first whole second at least 1.2 s from `at`, ms since the epoch. */
const wholeSecond = (at: number): number => Math.ceil((at + 1_200) / 1_000) * 1_000;

const cases: { provider: string; limits: string; says: () => [Record<string, string>, number] }[] =
  [
    {
      provider: "openai",
      limits: "rpm: 1000",
      says: () => [named("requests", "1000", "1.2s"), 1_200],
    },
    {
      provider: "groq",
      limits: "tpm: 5000",
      says: () => [named("tokens", "5000", "1.25s"), 1_250],
    },
    {
      provider: "cerebras",
      limits: "rpm: 100",
      says: () => [named("requests-minute", "100", "1.1"), 1_100],
    },
    // A limit that the file leaves open, and one that is lower than what it says.
    {
      provider: "openai",
      limits: "tpm: 5000",
      says: () => [named("requests", "10", "1.1s"), 1_100],
    },
    {
      provider: "openai",
      limits: "rpm: 1000",
      says: () => [named("requests", "10", "1.1s"), 1_100],
    },
    {
      provider: "anthropic",
      limits: "rpm: 1000",
      says: () => {
        const at = wholeSecond(Date.now());
        const headers = {
          "anthropic-ratelimit-requests-limit": "1000",
          "anthropic-ratelimit-requests-remaining": "0",
          "anthropic-ratelimit-requests-reset": new Date(at).toISOString(),
        };
        return [headers, at - Date.now()];
      },
    },
    {
      provider: "generic",
      limits: "rpm: 60",
      says: () => [{ "RateLimit-Policy": '"a";q=60;w=60', RateLimit: '"a";r=0;t=1' }, 1_000],
    },
  ];

function named(name: string, limit: string, reset: string): Record<string, string> {
  return {
    [`x-ratelimit-limit-${name}`]: limit,
    [`x-ratelimit-remaining-${name}`]: "0",
    [`x-ratelimit-reset-${name}`]: reset,
  };
}

describe("an answer that says that nothing is left holds the next request until the reset, then one goes first", () => {
  let at: Folder;
  let upstream: Upstream;
  let proxy: Proxy;
  /** By case: when the answer was given, and how long it says to wait. */
  const told = new Map<string, { at: number; ms: number }>();

  beforeAll(async () => {
    at = folder();
    upstream = startUpstream((_, { target }) => {
      const [, n = "", name = ""] = target.split("/");
      if (name !== "first") return new Response("ok");
      const [headers, ms] = cases[Number(n)]?.says() ?? [{}, 0];
      told.set(n, { at: performance.now(), ms });
      return new Response("ok", { headers });
    });
    const rows = cases.map(
      ({ provider, limits }, n) =>
        `  - { name: q${n}, domain: q${n}.test, provider: ${provider}, ${limits}, upstream: "${upstream.url}/${n}" }`,
    );
    proxy = await startProxy(`quotas:\n${rows.join("\n")}\n`, { at });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    at[Symbol.dispose]();
  });

  test.concurrent.each(cases.map(({ provider, limits }, n) => [provider, limits, n] as const))(
    "%s, %s",
    async (_, __, n) => {
      const get = (name: string) => call(proxy.port, { host: `q${n}.test`, path: `/${name}` });
      const seen = () => upstream.seen.filter(({ target }) => target.startsWith(`/${n}/`));
      // Compiled and connected before anything is timed.
      await get("warm").answer;
      expect((await get("first").answer).status).toBe(200);
      const others = [];
      for (const name of ["second", "third"]) {
        others.push(get(name));
        await until(
          async () => (await proxy.quota(`q${n}`)).queue_depth === others.length,
          "it waits",
          1_000,
        );
      }
      const answers = await Promise.all(others.map(({ answer }) => answer));
      expect(answers.map(({ status }) => status)).toEqual([200, 200]);
      expect(seen().map(({ target }) => target.split("/")[2])).toEqual([
        "warm",
        "first",
        "second",
        "third",
      ]);
      const { at: saidAt, ms } = told.get(String(n)) ?? { at: 0, ms: 0 };
      const waited = (seen()[2]?.at ?? 0) - saidAt;
      // Dates were made and read some milliseconds apart.
      expect(waited).toBeWithin(ms - 5, ms + tolerance);
    },
  );
});
