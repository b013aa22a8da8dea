import type { HeaderReader } from "../header-fields.ts";
import { readDraft } from "./hint-draft.ts";
import { readReset } from "./hint-reset.ts";
import { dimensionsOf, genericDimensions } from "./hint-names.ts";
import type { Dimension } from "./hint-names.ts";
import { hintOf, isNoLimit, readUnits } from "./hint-shape.ts";
import type { Hint, HintWindow } from "./hint-shape.ts";
import type { Provider } from "./provider.ts";

const none: readonly Hint[] = [];

/**
 * Reads every rate-limit header of an answer. What is implausible is left out: numbers that are none or negative,
 * resets that have passed or are more than 32 days off; and the whole hint where the limit is stated as 0 or below
 * (Azure's Responses API sends -1 and 0), or less than what remains of it (seen of Cerebras), as then neither number
 * can be believed.
 *
 * For admission, which runs it on every answer: headers that are not there cost a microsecond.
 * @param provider decides which names are looked for and what they mean; `generic` looks for all of them.
 * @param now when the answer's headers arrived, milliseconds since the epoch.
 */
export function readHints(provider: Provider, headers: HeaderReader, now: number): readonly Hint[] {
  // GitHub counts searches, GraphQL points and the rest apart: only "core" is what a quota of requests is about.
  const resource = provider === "github" ? headers.get("x-ratelimit-resource") : null;
  return resource === null || resource === "core" ? readEveryHint(provider, headers, now) : none;
}

/** As `readHints`, with GitHub's limits for single resources: to learn how long a refusal lasts. */
export function readEveryHint(
  provider: Provider,
  headers: HeaderReader,
  now: number,
): readonly Hint[] {
  const dimensions = provider === "generic" ? genericDimensions(headers) : dimensionsOf[provider];
  let hints: Hint[] | null = null;
  for (const dimension of dimensions) {
    const hint = readHint(dimension, headers, now);
    if (hint === null) continue;
    if (hints === null) hints = [hint];
    else hints.push(hint);
  }
  if (provider === "generic") {
    const drafts = readDraft(headers, now);
    if (drafts.length > 0) hints = [...(hints ?? []), ...drafts];
  }
  if (hints === null) return none;
  return provider === "anthropic" || provider === "generic" ? withoutSums(hints) : hints;
}

function readHint(dimension: Dimension, headers: HeaderReader, now: number): Hint | null {
  const limitText = headers.get(dimension.limit);
  const remainingText = headers.get(dimension.remaining);
  const resetText = headers.get(dimension.reset);
  if (limitText === null && remainingText === null && resetText === null) return null;
  if (limitText !== null && isNoLimit(limitText)) return null;
  const limit = readUnits(limitText);
  const remaining = readUnits(remainingText);
  const resetAt = resetText === null ? null : readReset(resetText, headers, now);
  return hintOf(dimension.unit, windowOf(dimension, limit, remaining, resetAt, now), {
    limit,
    remaining,
    resetAt,
  });
}

/** Beyond this many milliseconds, the window that a reset implies is not a minute. */
const clearlyMoreThanAMinute = 600_000;

/** The window that is said in the name, else what the numbers show. */
function windowOf(
  dimension: Dimension,
  limit: number | null,
  remaining: number | null,
  resetAt: number | null,
  now: number,
): HintWindow | null {
  if (resetAt === null || dimension.guess === null) return dimension.window;
  const wait = resetAt - now;
  // OpenRouter's own limits are for a minute or until midnight, and the header does not say which.
  if (dimension.guess === "reset") return wait > 60_000 ? "day" : dimension.window;
  // OpenAI's "requests" are of a minute, on low tiers of a day. It fills up evenly: 1 of 200 a day takes 7m12s.
  const used = limit === null || remaining === null ? 0 : limit - remaining;
  if (limit === null || used <= 0) return dimension.window;
  return (wait * limit) / used > clearlyMoreThanAMinute ? "day" : dimension.window;
}

/**
 * Without Anthropic's `tokens`, unless they are a limit of their own: they show "the most restrictive limit
 * currently in effect", which is a workspace's where there is one, and else the sum of input and output, which
 * nothing enforces. Source: https://platform.claude.com/docs/en/api/rate-limits (response headers).
 */
function withoutSums(hints: readonly Hint[]): readonly Hint[] {
  const input = hints.find((hint) => hint.unit === "input_tokens")?.limit ?? null;
  const output = hints.find((hint) => hint.unit === "output_tokens")?.limit ?? null;
  if (input === null && output === null) return hints;
  return hints.filter(
    ({ unit, limit }) =>
      unit !== "tokens" ||
      (limit !== null &&
        limit !== input &&
        limit !== output &&
        limit !== (input ?? 0) + (output ?? 0)),
  );
}
