import { UsageError } from "../errors.ts";
import { parseDuration } from "./duration.ts";
import { isFields } from "./openai-prompt.ts";
import type { Fields } from "./openai-prompt.ts";

/** What happens to one request by a script. */
export type Script = Replacement | Overlay;

/** The request never comes to the quota. */
export type Replacement =
  /** Closed before the answer. */
  | { kind: "reset" }
  /** Never answered. */
  | { kind: "stall" }
  /** Exactly this answer; a body that is null is the provider's own error of that status. */
  | { kind: "answer"; status: number; headers: Record<string, string>; body: string | null };

/** The call goes its ordinary way, its answer with `headers` over its own; `cut` also ends a stream early. */
interface Overlay {
  kind: "pass" | "cut";
  headers: Record<string, string>;
}

/** A script, and for how many requests or how long it holds. */
export interface FaultRule {
  script: Script;
  /** Infinity where only time ends it. */
  requests: number;
  /** From the first request that comes under it; null where only the number ends it. */
  forMs: number | null;
}

/** The rules that wait to be used, as `GET /__mock/faults` tells them. */
export interface PendingFault {
  kind: Script["kind"];
  status: number | null;
  /** null where only time ends it. */
  next: number | null;
  /** Milliseconds left; null where only the number ends it. */
  for_ms: number | null;
}

export interface Faults {
  /** The script for a request that arrives at `now`; null where none applies. Counts it as used. */
  next(now: number): Script | null;
  add(rule: FaultRule): void;
  clear(): void;
  pending(now: number): PendingFault[];
}

/** Rules take effect one after the other, in the order they were added. */
export function createFaults(initial: readonly FaultRule[]): Faults {
  let rules: (FaultRule & { endsAt: number | null })[] = [];
  const add = (rule: FaultRule): void => void rules.push({ ...rule, endsAt: null });
  for (const rule of initial) add(rule);
  const isOver = ({ requests, endsAt }: (typeof rules)[number], now: number): boolean =>
    requests <= 0 || (endsAt !== null && endsAt <= now);

  return {
    next(now) {
      rules = rules.filter((rule) => !isOver(rule, now));
      const [rule] = rules;
      if (!rule) return null;
      rule.requests--;
      if (rule.forMs !== null) rule.endsAt ??= now + rule.forMs;
      return rule.script;
    },
    add,
    clear: () => void (rules = []),
    pending: (now) =>
      rules
        .filter((rule) => !isOver(rule, now))
        .map(({ script, requests, forMs, endsAt }) => ({
          kind: script.kind,
          status: script.kind === "answer" ? script.status : null,
          next: requests === Infinity ? null : requests,
          for_ms: endsAt === null ? forMs : endsAt - now,
        })),
  };
}

const known = ["next", "for", "kind", "status", "retry_after", "headers", "body"];
const kinds = ["answer", "reset", "stall", "pass", "cut"] as const;

/**
 * A rule from the body of `POST /__mock/faults`.
 *
 * @throws UsageError that names the field which is wrong.
 */
export function readFaultRule(fields: unknown): FaultRule {
  if (!isFields(fields)) throw new UsageError("A fault is a JSON object.");
  for (const name of Object.keys(fields)) {
    if (!known.includes(name))
      throw new UsageError(`"${name}" is not a field of a fault: there are ${known.join(", ")}.`);
  }
  const forMs = readFor(fields["for"]);
  const { next } = fields;
  if (next !== undefined && !isWhole(next, 1, Infinity))
    throw new UsageError("next must be a whole number from 1.");
  const requests = typeof next === "number" ? next : forMs === null ? 1 : Infinity;
  return { script: readScript(fields), requests, forMs };
}

function readScript(fields: Fields): Script {
  const { status, body } = fields;
  const headers = readHeaders(fields);
  if (status !== undefined && !isWhole(status, 200, 599))
    throw new UsageError("status must be a whole number from 200 to 599.");
  const given = fields["kind"] ?? (status === undefined ? "pass" : "answer");
  const kind = kinds.find((name) => name === given);
  if (kind === undefined) throw new UsageError(`kind must be one of ${kinds.join(", ")}.`);
  if (kind !== "answer") {
    if (status !== undefined || body !== undefined)
      throw new UsageError(`A fault of kind ${kind} has neither status nor body.`);
    if (kind === "reset" || kind === "stall") return { kind };
    return { kind, headers };
  }
  if (typeof status !== "number") throw new UsageError("An answer needs a status.");
  if (body === undefined || body === null) return { kind, headers, status, body: null };
  return { kind, headers, status, body: typeof body === "string" ? body : JSON.stringify(body) };
}

function readHeaders(fields: Fields): Record<string, string> {
  const { headers = {}, retry_after: retryAfter } = fields;
  if (!isFields(headers)) throw new UsageError("headers must be an object of names and values.");
  const lines = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]);
  if (typeof retryAfter === "string" || typeof retryAfter === "number")
    lines.push(["retry-after", String(retryAfter)]);
  else if (retryAfter !== undefined)
    throw new UsageError("retry_after must be a text or a number.");
  const all = Object.fromEntries(lines) as Record<string, string>;
  try {
    return Object.fromEntries(new Headers(all));
  } catch {
    throw new UsageError("headers has a name or a value that HTTP does not allow.");
  }
}

function readFor(value: unknown): number | null {
  if (value === undefined) return null;
  if (typeof value !== "string" && typeof value !== "number")
    throw new UsageError("for must be a duration.");
  return parseDuration(String(value));
}

function isWhole(value: unknown, least: number, most: number): boolean {
  return Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
}
