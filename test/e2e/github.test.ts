import { expect, setDefaultTimeout, test } from "bun:test";
import { ask, call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

test("a GitHub quota counts points beside requests: one to read, five to write, whatever the answer", async () => {
  using at = folder();
  await using upstream = startUpstream((request) =>
    request.method === "PATCH" ? new Response("", { status: 404 }) : new Response("ok"),
  );
  await using proxy = await startProxy(
    `quotas: [{ name: q, domain: api.github.com, rph: 100, tpm: 15, upstream: "${upstream.url}" }]\n`,
    { at },
  );
  const host = "api.github.com";
  const used = async () => (await proxy.quota("q")).windows.map((window) => window.used);
  for (const [method, expected] of [
    ["GET", [1, 1]],
    ["POST", [2, 6]],
    ["HEAD", [3, 7]],
    ["PATCH", [4, 12]],
  ] as const) {
    await ask(proxy.port, {
      host,
      method,
      path: "/repos",
      ...(method === "POST" && { body: "{}" }),
    });
    await until(
      async () => Bun.deepEquals(await used(), expected),
      `it has used ${expected.join(" and ")}`,
    );
  }
  const write = call(proxy.port, { host, method: "DELETE", path: "/repos" });
  await until(async () => (await proxy.quota("q")).queue_depth === 1, "there is no room for five");
  expect(upstream.seen).toHaveLength(4);
  write.abort();
  expect((await ask(proxy.port, { host, path: "/repos" })).status).toBe(200);
});
