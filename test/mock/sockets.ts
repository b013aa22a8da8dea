import { afterEach } from "bun:test";
import { startMock } from "../../src/mock/server.ts";
import type { Mock } from "../../src/mock/server.ts";
import type { MockOptions } from "../../src/mock/options.ts";

const running: Mock[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((mock) => mock.stop()));
});

/** A simulator on a free port, without latency unless `options` say otherwise; the end of the test stops it. */
export function start(options: MockOptions = {}): Mock {
  const mock = startMock({ port: 0, latencyMs: 0, jitterMs: 0, chunkIntervalMs: 0, ...options });
  running.push(mock);
  return mock;
}

/** Posts `body` as JSON. */
export function post(
  mock: Mock,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
  signal: AbortSignal | null = null,
): Promise<Response> {
  return fetch(mock.url + path, { method: "POST", body: JSON.stringify(body), headers, signal });
}

/** Waits until `holds`, giving way to the event loop; the test's own timeout ends it. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}
