import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Answer } from "./client.ts";
import { ask, call } from "./client.ts";
import { holds, limited, openAiError, refusal } from "./holds.ts";
import type { Refusing } from "./holds.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Seen, Upstream } from "./upstream.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** How late a held request may come, ms. */
const tolerance = 50;

/** What the next requests of a domain get, each in its turn; then 200. */
const scripts = new Map<string, Refusing[]>();
const answeredAt = new Map<Seen, number>();
/** The same by the wall clock, ms since the epoch: a moment later the next whole second may be another. */
const wallAt = new Map<Seen, number>();

describe("an upstream that turns requests away", () => {
  let at: Folder;
  let upstream: Upstream;
  let proxy: Proxy;

  /** What the upstream was asked for on a domain: the last parts of the targets. */
  const seenOf = (domain: string): Seen[] =>
    upstream.seen.filter(({ target }) => target.startsWith(`/${domain}/`));
  const names = (domain: string): string[] =>
    seenOf(domain).map(({ target }) => target.split("/")[2] ?? "");
  const post = (domain: string, name: string, headers: Record<string, string> = {}) =>
    call(proxy.port, { host: domain, path: `/${name}`, method: "POST", headers, body: "{}" });

  beforeAll(async () => {
    at = folder();
    upstream = startUpstream((_, seen) => {
      const [, domain = ""] = seen.target.split("/");
      const refuse = scripts.get(domain)?.shift();
      answeredAt.set(seen, performance.now());
      wallAt.set(seen, Date.now());
      return refuse?.() ?? new Response("ok");
    });
    const row = (domain: string, provider: string, limits: string): string =>
      `  - { name: ${domain}, domain: ${domain}, provider: ${provider}, ${limits}, upstream: "${upstream.url}/${domain}" }`;
    const more = [
      "doubling",
      "named",
      "nought",
      "endless",
      "hopeless",
      "unpaid",
      "leaving",
      "overload",
      "again",
      "mixed",
    ];
    proxy = await startProxy(
      `quotas:
${holds.map(({ provider, limits = limited }, n) => row(`hold${n}.test`, provider, limits)).join("\n")}
${more.map((name) => row(`${name}.test`, "openai", limited)).join("\n")}
rate_limits:
  - { domain: large.test, requests_per_second: 1000, burst: 100, upstream: "${upstream.url}/large.test" }
`,
      { at },
    );
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    at[Symbol.dispose]();
  });

  describe("holds the quota exactly as long as it says, and what it turned away goes first", () => {
    test.concurrent.each(holds.map((hold, n) => [hold.name, hold, n] as const))(
      "%s",
      async (_, { waitMs, refuse }, n) => {
        const domain = `hold${n}.test`;
        // Compiled, connected and read before anything is timed.
        await post(domain, "warm").answer;
        scripts.set(domain, [refuse]);
        const first = post(domain, "first");
        await until(() => seenOf(domain).length === 2, "the first is turned away");
        await until(async () => (await proxy.quota(domain)).queue_depth === 1, "it waits");
        const others = ["second", "third"].map((name) => post(domain, name));
        const answers = await Promise.all([first, ...others].map(({ answer }) => answer));
        expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
        expect(names(domain).slice(0, 3)).toEqual(["warm", "first", "first"]);
        // What leaves in the same moment on two connections is seen in either order.
        expect(names(domain).slice(3).toSorted()).toEqual(["second", "third"]);
        const [, turnedAway, again] = seenOf(domain) as [Seen, Seen, Seen];
        const asked = typeof waitMs === "number" ? waitMs : waitMs(wallAt.get(turnedAway) ?? 0);
        const waited = again.at - (answeredAt.get(turnedAway) ?? 0);
        // Dates were made and read some milliseconds apart.
        expect(waited).toBeGreaterThanOrEqual(asked - (typeof waitMs === "number" ? 1 : 5));
        expect(waited).toBeLessThanOrEqual(asked + tolerance);
        expect(answers[0]?.header("x-cooldown-wait")).toMatch(/^(0\.9|[12]\.\d)\d\d$/);
      },
    );
  });

  test.each([
    ["doubling.test", {}, {}],
    ["named.test", {}, openAiError("Slow down")],
    ["nought.test", { "Retry-After": "0" }, openAiError("Slow down")],
  ])(
    "without a word on how long: a second, then twice as long, jittered (%s)",
    async (...given) => {
      const [domain, headers, body] = given;
      scripts.set(domain, [refusal(headers, body), refusal(headers, body)]);
      expect((await post(domain, "a").answer).status).toBe(200);
      const [first, second, third] = seenOf(domain) as [Seen, Seen, Seen];
      expect(second.at - first.at).toBeWithin(750, 1_250 + tolerance);
      expect(third.at - second.at).toBeWithin(1_500, 2_500 + tolerance);
      // It was served: the next time begins anew.
      scripts.set(domain, [refusal({})]);
      expect((await post(domain, "b").answer).status).toBe(200);
      const [fourth, fifth] = seenOf(domain).slice(3) as [Seen, Seen];
      expect(fifth.at - fourth.at).toBeWithin(750, 1_250 + tolerance);
    },
  );

  test.each([
    ["30", "30", null],
    ["90", "90", "false"],
    [null, "20", null],
  ])(
    "a wait of Retry-After %p that is too long: the upstream's own answer",
    async (header, expected, shouldRetry) => {
      const domain = "hopeless.test";
      const body = openAiError("Too much. Please try again in 20s.");
      scripts.set(domain, [refusal(header === null ? {} : { "Retry-After": header }, body)]);
      await using own = await startProxy(
        `quotas: [{ name: q, domain: q.test, provider: openai, rpm: 100, upstream: "${upstream.url}/${domain}" }]\n`,
        { at: folder() },
      );
      const start = performance.now();
      const answer = await ask(own.port, {
        host: "q.test",
        path: `/${header}`,
        method: "POST",
        headers: { "X-Cooldown-Timeout": "5s" },
        body: "{}",
      });
      expect(performance.now() - start).toBeLessThan(500);
      expect(answer.status).toBe(429);
      expect(answer.json()).toEqual(body);
      expect(answer.header("x-cooldown-error")).toBeNull();
      expect(answer.header("retry-after")).toBe(expected);
      expect(answer.header("x-should-retry")).toBe(shouldRetry);
    },
  );

  test("insufficient_quota is passed on at once, unchanged, and holds nothing", async () => {
    const domain = "unpaid.test";
    const body = openAiError("You exceeded your current quota.", "insufficient_quota");
    scripts.set(domain, [refusal({ "X-Of": "upstream" }, body)]);
    const answer = await post(domain, "a").answer;
    expect([answer.status, answer.json()]).toEqual([429, body]);
    expect(answer.header("x-of")).toBe("upstream");
    expect(answer.header("retry-after")).toBeNull();
    const next = await post(domain, "b").answer;
    expect([next.status, next.header("x-cooldown-wait")]).toEqual([200, "0.000"]);
    expect(names(domain)).toEqual(["a", "b"]);
  });

  test.each(["with its length", "in chunks"])(
    "a body of 100 KB that was streamed %s is not sent again",
    async (how) => {
      const domain = "large.test";
      const before = seenOf(domain).length;
      scripts.set(domain, [refusal({ "Retry-After": "0.3" }, { of: "upstream" })]);
      const bytes = new Uint8Array(100_000);
      const body = how === "in chunks" ? pieces(bytes) : bytes;
      const answer = await ask(proxy.port, { host: domain, path: "/a", method: "POST", body });
      expect([answer.status, answer.json()]).toEqual([429, { of: "upstream" }]);
      expect(seenOf(domain).length).toBe(before + 1);
      // The hold is the others' all the same.
      const next = await ask(proxy.port, { host: domain, path: "/b", method: "POST", body: "{}" });
      expect(next.status).toBe(200);
      expect((seenOf(domain).at(-1)?.at ?? 0) - (answer.headAt ?? 0)).toBeGreaterThan(200);
    },
  );

  test("what was turned away goes first and in time where the 429's body does not end", async () => {
    const domain = "endless.test";
    scripts.set(domain, [
      () => {
        const body = new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(new TextEncoder().encode("{")),
        });
        return new Response(body, { status: 429, headers: { "Retry-After": "1" } });
      },
    ]);
    const first = post(domain, "first");
    await until(() => seenOf(domain).length === 1, "the first is turned away");
    const second = post(domain, "second");
    for (const { answer } of [first, second]) expect((await answer).status).toBe(200);
    expect(names(domain)).toEqual(["first", "first", "second"]);
    const [turnedAway, again] = seenOf(domain) as [Seen, Seen];
    const waited = again.at - (answeredAt.get(turnedAway) ?? 0);
    expect(waited).toBeWithin(999, 1_000 + tolerance);
  });

  test("a client that leaves during the hold frees its place", async () => {
    const domain = "leaving.test";
    scripts.set(domain, [refusal({ "Retry-After": "2" })]);
    const leaving = post(domain, "leaving");
    await until(async () => (await proxy.quota(domain)).queue_depth === 1, "it waits again");
    const staying = post(domain, "staying");
    await until(async () => (await proxy.quota(domain)).queue_depth === 2, "both wait");
    leaving.abort();
    await until(async () => (await proxy.quota(domain)).queue_depth === 1, "one is gone", 500);
    expect((await staying.answer).status).toBe(200);
    expect(names(domain)).toEqual(["leaving", "staying"]);
    const { windows } = await proxy.quota(domain);
    expect(windows.every(({ reserved }) => reserved === 0)).toBe(true);
  });

  test.each([503, 529])("an overload of %d is tried three times in all", async (status) => {
    const domain = "overload.test";
    const before = seenOf(domain).length;
    const body = { error: { type: "overloaded_error", message: "Overloaded" } };
    scripts.set(
      domain,
      Array.from({ length: 3 }, () => refusal({}, body, status)),
    );
    const answer = await post(domain, `${status}`).answer;
    expect([answer.status, answer.json()]).toEqual([status, body]);
    expect(seenOf(domain).length).toBe(before + 3);
    // At most a second before the second try, and two before the third.
    const [first, second, third] = seenOf(domain).slice(before) as [Seen, Seen, Seen];
    expect(second.at - first.at).toBeLessThan(1_000 + tolerance);
    expect(third.at - second.at).toBeLessThan(2_000 + tolerance);
  });

  test("an overload that passes is not seen by the client", async () => {
    const domain = "again.test";
    scripts.set(domain, [refusal({}, {}, 503), refusal({}, {}, 529)]);
    const answer = await post(domain, "a").answer;
    expect([answer.status, answer.text()]).toEqual([200, "ok"]);
    expect(names(domain)).toEqual(["a", "a", "a"]);
    // What the upstream took for its refusals was no wait of ours, and hardly any time.
    const [first, second, third] = seenOf(domain) as [Seen, Seen, Seen];
    const pauses =
      second.at - (answeredAt.get(first) ?? 0) + third.at - (answeredAt.get(second) ?? 0);
    const told = 1_000 * Number(answer.header("x-cooldown-wait"));
    expect(told).toBeWithin(pauses - tolerance, pauses + 1);
    const metrics = (await ask(proxy.port, { path: "/metrics" })).text();
    expect(metrics).toMatch(/cooldown_queue_wait_seconds_count\{quota="again\.test"\} 1/);
  });

  test("many that were in flight together wait together, and go in their order", async () => {
    const domain = "mixed.test";
    const count = 8;
    scripts.set(
      domain,
      Array.from({ length: count }, () => refusal({ "Retry-After": "1" })),
    );
    const first = Array.from({ length: count }, (_, n) => post(domain, `a${n}`));
    await until(
      async () => (await proxy.quota(domain)).queue_depth === count,
      "all are turned away and wait again",
    );
    const late = post(domain, "late");
    const answers: Answer[] = await Promise.all([...first, late].map(({ answer }) => answer));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    const turnedAway = seenOf(domain).slice(0, count);
    const after = seenOf(domain).slice(count);
    const holdEnd = Math.max(...turnedAway.map((seen) => answeredAt.get(seen) ?? 0)) + 1_000;
    expect(Math.min(...after.map(({ at: time }) => time))).toBeGreaterThanOrEqual(holdEnd - 20);
    // They go one behind the other in the same moment: the upstream may see the last ones in any order.
    expect(after[0]?.target).not.toBe(`/${domain}/late`);
    expect(names(domain).slice(count).toSorted()).toEqual(
      [...names(domain).slice(0, count), "late"].toSorted(),
    );
  });
});

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}
