import type { HeaderReader } from "../header-fields.ts";
import { readDecimal } from "./duration.ts";
import { readReset } from "./hint-reset.ts";
import { hintOf, isNoLimit, readUnits } from "./hint-shape.ts";
import type { Hint, HintUnit, HintWindow } from "./hint-shape.ts";

/** Longer fields, and more items in one, are not read. */
const longestText = 2_048;
const mostItems = 16;

/** One item of a structured list (RFC 9651) with its parameters. Every repetition starts with its own delimiter. */
const item =
  /[ \t]*(?:"([^"\\]{0,64})"|([A-Za-z0-9*][\w\-.:/*]{0,64}))((?:[ \t]*;[ \t]*[a-z*][\w\-.*]{0,32}(?:=(?:"[^"\\]{0,128}"|[\w\-.:+/*=]{1,64}))?){0,8})[ \t]*(?:,|$)/y;
const parameter = /;[ \t]*([a-z*][\w\-.*]{0,32})=(?:"([^"\\]{0,128})"|([\w\-.:+/*=]{1,64}))/g;
/** Draft 7's way: `limit=100, remaining=50, reset=30`. */
const field = /(?:^|[,;])[ \t]*(limit|remaining|reset)=(\d{1,15})/g;

const none: readonly Hint[] = [];

/** How the drafts write the windows that we know, in seconds. */
const windowOf: Readonly<Record<string, HintWindow>> = {
  "1": "second",
  "60": "minute",
  "3600": "hour",
  "86400": "day",
};

/**
 * Reads `RateLimit` and `RateLimit-Policy`, or where they are not there `RateLimit-Limit`, `-Remaining` and `-Reset`
 * of the older drafts.
 *
 * Quotas in units other than requests (`qu`) are left out, but for `tokens`, which some servers add.
 * Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (10), and its versions 3 and 7.
 * @param now milliseconds since the epoch.
 */
export function readDraft(headers: HeaderReader, now: number): readonly Hint[] {
  const left = headers.get("ratelimit");
  const policy = headers.get("ratelimit-policy");
  if (left !== null && /^[ \t]*(?:limit|remaining|reset)=/.test(left)) {
    return readFields(left, policy, headers, now);
  }
  if (left !== null || (policy !== null && policy.trimStart().startsWith('"'))) {
    return readItems(left ?? "", policy ?? "", headers, now);
  }
  return readOlder(policy, headers, now);
}

interface Item {
  name: string;
  parameters: Readonly<Record<string, string>>;
}

function readItems(
  left: string,
  policy: string,
  headers: HeaderReader,
  now: number,
): readonly Hint[] {
  const policies = itemsOf(policy);
  const state = itemsOf(left);
  const names = new Set([...policies, ...state].map(({ name }) => name));
  const hints: Hint[] = [];
  for (const name of names) {
    const quota = policies.find((item) => item.name === name)?.parameters;
    const held = state.find((item) => item.name === name)?.parameters;
    const unit = unitOf(quota?.["qu"]);
    if (unit === null) continue;
    const reset = held?.["t"];
    const hint = hintOf(unit, windowOf[quota?.["w"] ?? ""] ?? null, {
      limit: readUnits(quota?.["q"] ?? null),
      remaining: readUnits(held?.["r"] ?? null),
      resetAt: reset === undefined ? null : readReset(reset, headers, now),
    });
    if (hint !== null) hints.push(hint);
  }
  return hints;
}

function unitOf(unit: string | undefined): HintUnit | null {
  if (unit === undefined || unit === "requests") return "requests";
  return unit === "tokens" ? "tokens" : null;
}

function itemsOf(text: string): readonly Item[] {
  const items: Item[] = [];
  if (text.length > longestText) return items;
  item.lastIndex = 0;
  while (items.length < mostItems && item.lastIndex < text.length) {
    const match = item.exec(text);
    if (match === null) break;
    const parameters: Record<string, string> = Object.create(null);
    for (const [, name, quoted, bare] of (match[3] ?? "").matchAll(parameter)) {
      parameters[name ?? ""] = quoted ?? bare ?? "";
    }
    items.push({ name: match[1] ?? match[2] ?? "", parameters });
  }
  return items;
}

function readFields(
  text: string,
  policy: string | null,
  headers: HeaderReader,
  now: number,
): readonly Hint[] {
  if (text.length > longestText) return none;
  const values: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(field)) values[name ?? ""] ??= value ?? "";
  return one(values["limit"], values["remaining"], values["reset"], policy, headers, now);
}

function readOlder(policy: string | null, headers: HeaderReader, now: number): readonly Hint[] {
  const limit = headers.get("ratelimit-limit");
  const remaining = headers.get("ratelimit-remaining");
  const reset = headers.get("ratelimit-reset");
  if (limit === null && remaining === null && reset === null) return none;
  // Draft 3 lists the policies behind the limit in force: `10, 10;w=1, 50;w=60`.
  const [first, ...rest] = (limit ?? "").slice(0, longestText).split(/[,;]/, 2 * mostItems);
  const policies = policy ?? (rest.length > 0 ? limit : null);
  return one(
    limit === null ? undefined : first?.trim(),
    remaining ?? undefined,
    reset ?? undefined,
    policies,
    headers,
    now,
  );
}

function one(
  limitText: string | undefined,
  remaining: string | undefined,
  reset: string | undefined,
  policies: string | null,
  headers: HeaderReader,
  now: number,
): readonly Hint[] {
  if (limitText !== undefined && isNoLimit(limitText)) return none;
  const limit = readUnits(limitText ?? null);
  const seconds = itemsOf(policies ?? "").find(
    ({ name, parameters }) => parameters["w"] !== undefined && readDecimal(name) === limit,
  )?.parameters["w"];
  const hint = hintOf("requests", windowOf[seconds ?? ""] ?? null, {
    limit,
    remaining: readUnits(remaining ?? null),
    resetAt: reset === undefined ? null : readReset(reset, headers, now),
  });
  return hint === null ? none : [hint];
}
