import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseHost } from "../../src/routing/host.ts";
import {
  createDomainTable,
  createGlob,
  createQuotaTable,
  pickQuota,
} from "../../src/routing/rules.ts";

const host = (text: string) => parseHost(text)!;

describe("domains", () => {
  const domains = [
    "api.example.com",
    "*.example.com",
    "*.eu.example.com",
    "*.com",
    "api.example.com:8443",
    "[::1]",
    "other.org",
  ];
  const table = createDomainTable(domains.map((domain) => [domain, domain]));

  test.each([
    ["api.example.com", "api.example.com"],
    ["API.example.com.", "api.example.com"],
    ["api.example.com:8443", "api.example.com:8443"],
    ["api.example.com:9", "api.example.com"],
    ["www.example.com", "*.example.com"],
    ["a.b.c.example.com", "*.example.com"],
    ["a.eu.example.com", "*.eu.example.com"],
    ["eu.example.com", "*.example.com"],
    ["example.com", "*.com"],
    ["badexample.com", "*.com"],
    ["com", null],
    ["[::1]:80", "[::1]"],
    ["a.other.org", null],
  ])("%p has the rule %p", (name, rule) => {
    const found = table.find(host(name));
    expect(found?.value ?? null).toBe(rule);
    if (found !== null)
      expect(found).toEqual({ value: rule!, domain: rule!, exact: !rule!.startsWith("*") });
  });

  test("of two rows for one domain the first counts", () => {
    expect(
      createDomainTable([
        ["a.com", 1],
        ["a.com", 2],
      ]).find(host("a.com"))?.value,
    ).toBe(1);
  });
});

describe("quotas", () => {
  const row = (quota: string, domains: string[], models: string[] = ["*"]) => ({
    quota,
    domains,
    models,
  });
  const find = createQuotaTable([
    row("llama", ["api.a.com"], ["llama*"]),
    row("wild", ["*.a.com", "b.com"], ["gpt-*-mini", "x"]),
    row("all", ["api.a.com", "*.com"]),
    row("port", ["api.a.com:81"]),
  ]);

  test.each([
    ["api.a.com", "llama-3", "llama", true],
    ["api.a.com", "gpt-5-mini", "wild", false],
    ["api.a.com", "gpt-5", "all", true],
    ["api.a.com", "", "all", true],
    ["api.a.com:81", "llama-3", "llama", true],
    ["z.a.com", "llama-3", "all", false],
    ["z.a.com", "x", "wild", false],
    ["b.com", "x", "wild", true],
    ["b.com", "y", "all", false],
    ["c.org", "x", null, false],
  ])("%p with model %p has %p", (name, model, quota, exact) => {
    const picked = pickQuota(find(host(name)), model);
    expect(picked?.quota ?? null).toBe(quota);
    if (picked !== null) expect(picked.exact).toBe(exact);
  });
});

describe("globs", () => {
  test.each([
    ["*", ""],
    ["*", "x"],
    ["", ""],
    ["a*", "a"],
    ["a*a", "aa"],
    ["a*b*c", "a-b-b-c"],
    ["*b*", "abc"],
    ["a**c", "abc"],
    ["a.c", "a.c"],
  ])("%p has %p", (pattern, text) => expect(createGlob(pattern)(text)).toBe(true));

  test.each([
    ["a*a", "a"],
    ["a", "A"],
    ["a.c", "abc"],
    ["a*b*c", "acb"],
    ["", "x"],
    ["*ab*ab", "ab"],
    ["a?", "ab"],
  ])("%p has not %p", (pattern, text) => expect(createGlob(pattern)(text)).toBe(false));

  test("are what a regular expression would be", () => {
    const part = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 7 });
    const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
    fc.assert(
      fc.property(part, text, (pattern, given) => {
        expect(createGlob(pattern)(given)).toBe(
          new RegExp(`^${pattern.replaceAll(/\*+/g, ".*")}$`).test(given),
        );
      }),
    );
  });
});
