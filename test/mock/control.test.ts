import { describe, expect, test } from "bun:test";
import { createRequestLog } from "../../src/mock/request-log.ts";
import { chat, hello, provider } from "./provider.ts";
import { post, start } from "./sockets.ts";
import type { Mock } from "../../src/mock/server.ts";

async function send(
  mock: Mock,
  method: string,
  path: string,
  body?: unknown,
): Promise<[number, any]> {
  const text = body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(`${mock.url}/__mock/${path}`, { method, body: text });
  return [response.status, await response.json()];
}

describe("limits at run time", () => {
  test("change under what was counted", async () => {
    const mock = start({ profile: "plain", rpm: 2, algorithm: "sliding_window" });
    const status = async (): Promise<number> => (await fetch(`${mock.url}/x`)).status;
    expect([await status(), await status(), await status()]).toEqual([200, 200, 429]);
    const [, limits] = await send(mock, "PATCH", "limits", { rpm: 3, rph: 5 });
    expect(limits.map(({ window, limit }: any) => [window, limit])).toEqual([
      ["minute", 3],
      ["hour", 5],
    ]);
    expect([await status(), await status()]).toEqual([200, 429]);
    expect(mock.stats().windows).toEqual([
      { unit: "requests", window: "minute", limit: 3, used: 3, peak: 3, peak_reserved: 3 },
      { unit: "requests", window: "hour", limit: 5, used: 3, peak: 3, peak_reserved: 3 },
    ]);
    await send(mock, "PATCH", "limits", { rpm: null });
    // The hour's own count began when it was set.
    const statuses: number[] = [];
    for (let count = 0; count < 5; count++) statuses.push(await status());
    expect(statuses).toEqual([200, 200, 200, 200, 429]);
    expect((await send(mock, "GET", "limits"))[1]).toHaveLength(1);
  });

  test("a bucket keeps what is used; lowered, it is empty at worst", async () => {
    const { clock, exchange, post } = provider({ rpm: 60, tpm: 0, rpd: 0 });
    for (let count = 0; count < 10; count++) await post(chat, hello);
    const remaining = async (): Promise<string | null> =>
      (await post(chat, hello)).headers.get("x-ratelimit-remaining-requests-minute");
    exchange.setLimits({ rpm: 120 });
    expect(await remaining()).toBe("109");
    exchange.setLimits({ rpm: 6 });
    expect((await post(chat, hello)).headers.get("retry-after")).toBe("10");
    await clock.advance(10_000);
    expect(await remaining()).toBe("0");
    exchange.setLimits({ tpm: 1000 });
    expect(exchange.limits().map(({ unit, limit }) => [unit, limit])).toEqual([
      ["requests", 6],
      ["tokens", 1000],
      ["total_tokens", 3000],
    ]);
  });

  test("a burst stays what it was", async () => {
    const { clock, exchange } = provider({
      profile: "plain",
      rps: 1,
      burst: 2,
      algorithm: "token_bucket",
    });
    const status = async (): Promise<number> =>
      (await exchange.answer(new Request("http://mock/"))).status;
    exchange.setLimits({ rps: 10 });
    expect([await status(), await status(), await status()]).toEqual([200, 200, 429]);
    await clock.advance(100);
    expect([await status(), await status()]).toEqual([200, 429]);
  });
});

describe("routes", () => {
  test("faults are added, listed and cleared; reset clears them too", async () => {
    const mock = start();
    const [status, pending] = await send(mock, "POST", "faults", { next: 2, status: 429 });
    expect([status, pending]).toEqual([
      200,
      [{ kind: "answer", status: 429, next: 2, for_ms: null }],
    ]);
    expect((await post(mock, chat, hello)).status).toBe(429);
    expect((await send(mock, "GET", "faults"))[1]).toMatchObject([{ next: 1 }]);
    await send(mock, "DELETE", "faults");
    expect((await post(mock, chat, hello)).status).toBe(200);
    await send(mock, "POST", "faults", { status: 500 });
    await send(mock, "POST", "reset");
    expect((await send(mock, "GET", "faults"))[1]).toEqual([]);
  });

  test.each([
    ["PATCH", "limits", { rpms: 5 }, '"rpms" is not a limit'],
    ["PATCH", "limits", { rpm: "5" }, "rpm must be a number"],
    ["PATCH", "limits", { rpm: -5 }, "rpm is -5"],
    ["PATCH", "limits", [5], "JSON object"],
    ["PATCH", "limits", "{", "must be JSON"],
    ["POST", "faults", { status: 1 }, "status"],
    ["POST", "faults", "", "must be JSON"],
  ])("%s %s %j is 400", async (method, path, body, words) => {
    const [status, answer] = await send(start(), method, path, body);
    expect(status).toBe(400);
    expect(answer.error).toContain(words);
  });

  test("stats?log=1 tells of each request when it came and what became of it", async () => {
    const mock = start({ profile: "openai", rpm: 2, rpd: 0, tpm: 200_000 });
    mock.fault({ status: 429, retry_after: "2" });
    const before = Date.now();
    for (const tag of ["a", "b", "c", "d"]) await post(mock, chat, hello, { "x-mock-tag": tag });
    await fetch(`${mock.url}/v1/models`);
    await post(mock, chat, {});
    const [, stats] = await send(mock, "GET", "stats?log=1");
    expect(stats.requests_log.map((entry: unknown[]) => entry.slice(1))).toEqual([
      [429, "scripted", "a"],
      [200, "admitted", "b"],
      [200, "admitted", "c"],
      [429, "refused", "d"],
      [200, "free"],
      [400, "rejected"],
    ]);
    const times = stats.requests_log.map(([at]: number[]) => at);
    expect(times).toEqual(times.toSorted((one: number, other: number) => one - other));
    expect(times[0]).toBeWithin(before - 50, Date.now() + 50);
    expect(mock.requests()).toEqual(stats.requests_log);
    expect((await send(mock, "GET", "stats"))[1].requests_log).toBeUndefined();
  });
});

test("the log of requests keeps the last ones, in order", () => {
  const log = createRequestLog(3);
  expect(log.entries()).toEqual([]);
  for (let at = 1; at <= 5; at++) log.open(at, null).status = 200 + at;
  expect(log.entries()).toEqual([
    [3, 203, "running"],
    [4, 204, "running"],
    [5, 205, "running"],
  ]);
});
