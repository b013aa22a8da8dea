import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { freePort } from "../../scripts/bench/program.ts";
import { rawServer } from "../upstream/raw-server.ts";
import { ask } from "./client.ts";
import { folder, startProxy } from "./program.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** Spellings of what only this machine and its networks can reach. */
const spellings = [
  "127.0.0.1",
  "127.1",
  "127.0.0.1.",
  "127.255.255.254",
  "2130706433",
  "0x7f.1",
  "0x7f000001",
  "0177.0.0.1",
  "017700000001",
  "0",
  "0.0.0.0",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[::]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::127.0.0.1]",
  "[::ffff:0:127.0.0.1]",
  "[64:ff9b::127.0.0.1]",
  "[64:ff9b:1::7f00:1]",
  "[2002:7f00:1::]",
  "[fe80::1]",
  "[fd00::1]",
  "169.254.169.254",
  "[::ffff:169.254.169.254]",
  "100.100.100.200",
  "168.63.129.16",
  "10.0.0.1",
  "172.16.0.1",
  "192.168.1.1",
  "localhost",
  "LOCALHOST",
  "localhost.",
  "metadata.localhost",
  // Forms that are no host at all.
  "[::1%lo]",
  "[::1%25lo]",
  "127.0.0.1%00.example.com",
  "user@127.0.0.1",
  "127.0.0.1#.example.com",
  "①②⑦.0.0.1",
] as const;

/** Names that the hosts file gives to this machine. */
function namesOfThisMachine(): string[] {
  const lines = readFileSync("/etc/hosts", "utf8").split("\n");
  const names = lines.flatMap((line) => {
    const [address = "", ...rest] = line.replace(/#.*/, "").trim().split(/\s+/);
    return /^(127\.|::1$|10\.|172\.|192\.168\.|169\.254\.|f[cde])/i.test(address) ? rest : [];
  });
  return [...new Set([...names, hostname()])];
}

test("nothing that is not public is reached in any of the four forms, in whatever spelling or by name", async () => {
  using at = folder();
  await using inner = await rawServer();
  const forward = freePort();
  const yaml = `
default_rate_limit: { requests_per_second: 1000 }
forward_proxy: { enabled: true, port: ${forward}, connect_ports: [${inner.port}] }
`;
  await using proxy = await startProxy(yaml, { at });
  for (const host of [...spellings, ...namesOfThisMachine()]) {
    const named = `${host}:${inner.port}`;
    for (const target of [
      { host: named },
      { path: `/proxy/${host}:${inner.port}/x` },
      { path: `/proxy/${encodeURIComponent(host)}%3A${inner.port}/x` },
    ]) {
      const answer = await ask(proxy.port, target);
      expect([target, answer.status === 400 || answer.status === 403]).toEqual([target, true]);
      if (answer.status === 403) expect(answer.json().error.code).toBe("ADDRESS_NOT_ALLOWED");
    }
    for (const target of [
      { path: `http://${named}/x` },
      { path: named, host: named, method: "CONNECT" },
    ]) {
      const answer = await ask(forward, { ...target, host: "x.test" });
      expect([target, answer.status === 400 || answer.status === 403]).toEqual([target, true]);
    }
  }
  expect(inner.connections).toHaveLength(0);
});

test("Cooldown's own control routes are not reached through itself", async () => {
  using at = folder();
  await using proxy = await startProxy("", { at });
  for (const host of ["127.0.0.1", "127.1", "localhost", "[::1]", "2130706433"]) {
    const answer = await ask(proxy.port, { path: `/proxy/${host}:${proxy.port}/stats` });
    expect([host, answer.status]).toEqual([host, 400]);
  }
  const named = await ask(proxy.port, { host: `rebound.test:${proxy.port}`, path: "/stats" });
  expect(named.json().quotas).toBeUndefined();
});

test("a rule that names the exact host opens exactly that; a wildcard opens nothing", async () => {
  using at = folder();
  await using named = await rawServer(({ socket }) => socket.destroy());
  await using other = await rawServer(({ socket }) => socket.destroy());
  const yaml = `
rate_limits:
  - { domain: "127.0.0.1:${named.port}", requests_per_second: 1000 }
  - { domain: "*.localhost", requests_per_second: 1000 }
`;
  await using proxy = await startProxy(yaml, { at });
  const asked = async (host: string): Promise<number> => (await ask(proxy.port, { host })).status;
  expect(await asked(`127.0.0.1:${named.port}`)).toBe(502);
  expect(named.connections.length).toBeGreaterThan(0);
  for (const host of [
    `127.0.0.1:${other.port}`,
    `127.0.0.2:${named.port}`,
    `[::1]:${named.port}`,
    `a.localhost:${other.port}`,
  ])
    expect([host, await asked(host)]).toEqual([host, 403]);
  expect(other.connections).toHaveLength(0);
});

test.each(["Host", "/proxy/", "absolute-form", "CONNECT"])(
  "a name that means this machine after it was checked leads nowhere: %s",
  async (form) => {
    using at = folder();
    await using inner = await rawServer();
    const port = freePort();
    const yaml = `
default_rate_limit: { requests_per_second: 1000 }
forward_proxy: { enabled: true, port: ${port}, connect_ports: [${inner.port}] }
upstream_timeouts: { connect: 1s, first_byte: 1s }
`;
    const preload = join(import.meta.dir, "rebound-names.ts");
    await using proxy = await startProxy(yaml, { at, preload });
    for (const name of [hostname(), "both.test"]) {
      const host = `${name}:${inner.port}`;
      const asks = {
        Host: { host },
        "/proxy/": { path: `/proxy/${host}/x` },
        "absolute-form": { host, path: `http://${host}/x` },
        CONNECT: { host, path: host, method: "CONNECT" },
      }[form];
      for (let time = 0; time < 3; time++) {
        const { status } = await ask(
          form.startsWith("/") || form === "Host" ? proxy.port : port,
          asks,
        );
        expect([name, status >= 500 || status === 403]).toEqual([name, true]);
      }
      // The resolver was asked, and it is the one that lies.
      expect(proxy.out).toContain(`lookup ${name} 1\n`);
    }
    expect(inner.connections).toHaveLength(0);
  },
);
