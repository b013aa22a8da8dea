import { createRequire } from "node:module";

/**
 * Loaded into the program before it: a resolver that gives each name a public address at first, and this machine
 * from then on, as an attacker's name server does. What connects to a name of this machine past this resolver reaches it at
 * once. The address is of a network that was given back (RFC 3701): nobody has it.
 */
const resolver = createRequire(import.meta.url)("node:dns/promises") as Record<string, unknown>;
const asked = new Map<string, number>();

resolver["lookup"] = (name: string): Promise<{ address: string; family: number }[]> => {
  const times = (asked.get(name) ?? 0) + 1;
  asked.set(name, times);
  const outside = { address: "3ffe::1", family: 6 };
  const here = { address: "127.0.0.1", family: 4 };
  process.stdout.write(`lookup ${name} ${times}\n`);
  if (name === "both.test") return Promise.resolve([here, outside]);
  return Promise.resolve([times === 1 ? outside : here]);
};
