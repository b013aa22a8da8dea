import * as v from "valibot";
import { UsageError } from "../errors.ts";
import { formatDuration } from "./duration.ts";
import { section } from "./fields.ts";
import { quote } from "./redact.ts";
import {
  cerebrasLimitKeys,
  defaultRateLimitKeys,
  quotaKeys,
  quotaLimits,
  rateLimitKeys,
} from "./schema.ts";
import type { Config } from "./schema.ts";
import { checkTogether } from "./together.ts";

/** A key's value: as in `Config`, so durations are ms. */
type Value = number | string | boolean | null;
type Values = Readonly<Record<string, Value>>;

const queueing = ["max_queue_depth", "request_timeout"] as const;
const bucket = ["requests_per_second", "burst", ...queueing, "max_concurrency"] as const;
const ofQuota = [
  ...Object.keys(quotaLimits),
  "max_concurrency",
  ...queueing,
  "priority_threshold",
  "algorithm",
  "arrival_margin",
  "right_size_max_tokens",
];

/**
 * What may be changed while running: sizes, not whom a limit is for and where its requests go. The keys and their
 * schemas are those of the file.
 */
const kinds = {
  rate_limit: { schema: rateLimitKeys, keys: bucket },
  default_rate_limit: { schema: defaultRateLimitKeys, keys: bucket },
  quota: { schema: quotaKeys, keys: ofQuota },
  cerebras_limits: {
    schema: cerebrasLimitKeys,
    keys: ["rpm_limit", "tpm_limit", ...queueing, "priority_threshold"],
  },
} satisfies Record<string, { schema: { entries: v.ObjectEntries }; keys: readonly string[] }>;

type Kind = keyof typeof kinds;

const durations: readonly string[] = ["request_timeout", "arrival_margin"];

/** One limit of the configuration, and how to get one with other values. */
interface Limit {
  readonly name: string;
  readonly kind: Kind;
  readonly domain: string | readonly string[] | null;
  readonly values: Values;
  put(values: Values): Config;
}

/** A limit as `GET /api/limits` shows it: its name, what it is for, and the keys of the file. */
export interface ShownLimit {
  readonly name: string;
  readonly kind: string;
  readonly [key: string]: unknown;
}

/** Values of one limit that were changed while running. */
export interface Change {
  readonly name: string;
  /** As they are in force. */
  readonly values: Values;
  /** What the file said of the same keys. */
  readonly inFile: Values;
}

/**
 * All limits by their names: a rule's is its domain, that of `cerebras_limits` is `cerebras`, as in `/stats`.
 * @param changes shown as `changed`, with the file's values
 */
export function shownLimits(config: Config, changes: readonly Change[]): ShownLimit[] {
  return limitsOf(config).map(({ name, kind, domain, values }) => {
    const change = changes.find((one) => one.name === name);
    return {
      name,
      kind,
      ...(domain === null ? {} : { domain }),
      ...shown(values, kinds[kind].keys),
      ...(change === undefined
        ? {}
        : { changed: shown(change.inFile, Object.keys(change.inFile)) }),
    };
  });
}

/**
 * Checks what somebody wants of a limit, by the rules of the file.
 *
 * @param given keys and values as they would stand in the file
 * @returns the changed values; null if there is no limit of that name
 * @throws UsageError that says what is wrong with `given`
 */
export function readChange(config: Config, name: string, given: unknown): Values | null {
  const limit = limitsOf(config).find((one) => one.name === name);
  if (limit === undefined) return null;
  const { schema, keys } = kinds[limit.kind];
  const wanted = limit.kind === "cerebras_limits" ? withLongNames(given) : given;
  const entries: v.ObjectEntries = schema.entries;
  const allowed = Object.fromEntries(
    Object.entries(entries).filter(([key]) => keys.includes(key as never)),
  );
  const { issues, output } = v.safeParse(section(allowed), wanted);
  const problems = (issues ?? []).map(({ path, message }) => {
    const key = path?.[0]?.key;
    if (typeof key !== "string") return message;
    const isFixed = Object.hasOwn(entries, key) && !keys.includes(key as never);
    return `${key}: ${isFixed ? "can only be changed in the file" : message}`;
  });
  const asked = Object.keys(wanted ?? {});
  // Names that every object has by itself are not seen by the schema: `constructor`, `__proto__`.
  for (const key of asked) if (key in Object.prototype) problems.push(`${quote(key)}: unknown key`);
  if (problems.length === 0 && asked.length === 0)
    problems.push(`nothing to change; there are ${keys.join(", ")}`);
  if (problems.length > 0) throw new UsageError(problems.join("; "));
  const values = Object.fromEntries(asked.map((key) => [key, (output as Values)[key] ?? null]));
  // What its own schema cannot see, such as a quota without any limit.
  checkTogether(limit.put(values), (_, message) => problems.push(`${quote(name)} ${message}`));
  if (problems.length > 0) throw new UsageError(problems.join("; "));
  return values;
}

/**
 * The file's configuration with what was changed while running. What the file itself has changed since then is as the
 * file says: of such keys the changes are over, and so they are where the limit is no longer there.
 */
export function withChanges(
  file: Config,
  changes: readonly Change[],
): { config: Config; kept: Change[] } {
  let config = file;
  const kept: Change[] = [];
  for (const { name, values, inFile } of changes) {
    const limit = limitsOf(config).find((one) => one.name === name);
    if (limit === undefined) continue;
    const keys = Object.keys(values).filter(
      (key) =>
        kinds[limit.kind].keys.includes(key as never) &&
        Object.is(limit.values[key], inFile[key]) &&
        !Object.is(values[key], inFile[key]),
    );
    const changed = limit.put(pick(values, keys));
    let fits = keys.length > 0;
    checkTogether(changed, () => (fits = false));
    if (!fits) continue;
    config = changed;
    kept.push({ name, values: pick(values, keys), inFile: pick(inFile, keys) });
  }
  return { config, kept };
}

/** The changes with one more: where keys were changed before, the file's values stay what they were. */
export function addChange(
  file: Config,
  changes: readonly Change[],
  name: string,
  values: Values,
): Change[] {
  const before = changes.find((change) => change.name === name);
  const limit = limitsOf(file).find((one) => one.name === name);
  const all = { ...before?.values, ...values };
  const change = { name, values: all, inFile: pick(limit?.values ?? {}, Object.keys(all)) };
  return [...changes.filter((other) => other !== before), change];
}

function limitsOf(config: Config): Limit[] {
  const { rate_limits, default_rate_limit, cerebras_limits, quotas } = config;
  const rules = rate_limits.map((rule): Limit => {
    const put = (values: Values): Config => {
      const changed = { ...rule, ...values };
      return { ...config, rate_limits: rate_limits.map((one) => (one === rule ? changed : one)) };
    };
    const { domain } = rule;
    return { name: domain, kind: "rate_limit", domain, values: rule, put };
  });
  const named = quotas.map((quota): Limit => {
    const put = (values: Values): Config => {
      const changed = { ...quota, ...values };
      return { ...config, quotas: quotas.map((one) => (one === quota ? changed : one)) };
    };
    const values = pick(quota as unknown as Values, ofQuota);
    return { name: quota.name, kind: "quota", domain: quota.domain, values, put };
  });
  const isTaken = quotas.some(({ name }) => name === "cerebras");
  return [
    ...rules,
    ...named,
    {
      name: isTaken ? "cerebras_limits" : "cerebras",
      kind: "cerebras_limits",
      domain: null,
      values: cerebras_limits,
      put: (values) => ({ ...config, cerebras_limits: { ...cerebras_limits, ...values } }),
    },
    {
      name: "default_rate_limit",
      kind: "default_rate_limit",
      domain: null,
      values: default_rate_limit,
      put: (values) => ({ ...config, default_rate_limit: { ...default_rate_limit, ...values } }),
    },
  ];
}

/** `rpm` and `tpm`, which the limits of all other quotas are called, mean those of `cerebras_limits` too. */
function withLongNames(given: unknown): unknown {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return given;
  return Object.fromEntries(
    Object.entries(given).map(([key, value]) => [
      key === "rpm" || key === "tpm" ? `${key}_limit` : key,
      value as unknown,
    ]),
  );
}

function pick(values: Values, keys: readonly string[]): Values {
  return Object.fromEntries(keys.map((key) => [key, values[key] ?? null]));
}

/** Durations as people write them. */
function shown(values: Values, keys: readonly string[]): Record<string, Value> {
  return Object.fromEntries(
    keys.map((key) => {
      const value = values[key] ?? null;
      const isDuration = durations.includes(key) && typeof value === "number";
      return [key, isDuration ? formatDuration(value) : value];
    }),
  );
}
