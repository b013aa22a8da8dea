import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";
import { parse } from "yaml";
import { serveFlags, settings } from "../../src/config/settings.ts";
import packageJson from "../../package.json" with { type: "json" };

const root = join(import.meta.dir, "../..");
const deploy = join(root, "deploy");
const read = (path: string): string => readFileSync(join(deploy, path), "utf8");

interface Service {
  build?: { context: string; dockerfile: string };
  command: string;
  environment?: Record<string, string>;
  volumes: (string | { source: string; target: string })[];
  ports?: string[];
  depends_on?: Record<string, unknown>;
}

const compose = parse(read("compose.yaml"), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};
const cooldowns = Object.entries(compose.services).filter(([, { build }]) => build !== undefined);
const dockerfile = read("Dockerfile");

test("two Cooldowns and a Valkey", () => {
  expect(Object.keys(compose.services)).toEqual(["valkey", "cooldown-1", "cooldown-2"]);
  expect(Object.keys(compose.volumes)).toEqual(["usage"]);
  const ports = cooldowns.flatMap(([, { ports = [] }]) => ports);
  expect(ports).toEqual(["8081:8080", "8082:8080"]);
});

test.each(cooldowns)("%s names flags, variables and paths that there are", (_, service) => {
  const words = service.command.split(" ");
  expect(words[0]).toBe("serve");
  const flags = new Set(serveFlags.map(({ flag }) => flag).concat("--config"));
  for (const word of words.filter((one) => one.startsWith("--"))) expect(flags).toContain(word);
  const value = (flag: string): string => words[words.indexOf(flag) + 1] ?? "";
  expect(service.ports?.[0]).toEndWith(`:${value("--port")}`);
  expect(Object.keys(service.depends_on ?? {})).toContain(new URL(value("--redis-addr")).hostname);
  for (const name of Object.keys(service.environment ?? {}))
    expect(settings.map(({ env }) => env)).toContain(name);
  const [mount] = service.volumes;
  expect(mount).toMatchObject({ source: "../config.yaml", target: value("--config") });
  const { context, dockerfile: path } = service.build ?? { context: "", dockerfile: "" };
  expect(normalize(join(deploy, context, path))).toBe(join(deploy, "Dockerfile"));
});

test("the Dockerfile takes what there is, and what its ignore file lets through", () => {
  const ignored = read("Dockerfile.dockerignore").split("\n");
  const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].flatMap(([, line = ""]) =>
    line.split(" ").slice(0, -1),
  );
  expect(copies.length).toBeGreaterThan(0);
  for (const path of copies) {
    expect(existsSync(join(root, path))).toBe(true);
    expect(ignored).toContain(`!${path}`);
  }
  const [, script = ""] = /bun (scripts\S+)/.exec(dockerfile) ?? [];
  expect(existsSync(join(root, script))).toBe(true);
});

test("it builds with the Bun that the packages name", () => {
  const [, version] = /^FROM oven\/bun:(\S+) AS build$/m.exec(dockerfile) ?? [];
  expect(version).toBe(packageJson.dependencies.bun);
});
