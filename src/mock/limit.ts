/**
 * What a limit counts. `tokens` is what the provider's ordinary token limit counts, cached input left out where
 * the provider leaves it out; `total_tokens` counts cached input as well.
 */
export type Unit = "requests" | "tokens" | "total_tokens" | "input_tokens" | "output_tokens";
export type WindowName = "second" | "minute" | "hour" | "day";
export type Algorithm = "token_bucket" | "sliding_window";

/** The limits a provider can have, by the short names that providers use for them. */
export const limitNames = {
  rps: { unit: "requests", window: "second" },
  rpm: { unit: "requests", window: "minute" },
  rph: { unit: "requests", window: "hour" },
  rpd: { unit: "requests", window: "day" },
  tpm: { unit: "tokens", window: "minute" },
  tph: { unit: "tokens", window: "hour" },
  tpd: { unit: "tokens", window: "day" },
  total_tpm: { unit: "total_tokens", window: "minute" },
  input_tpm: { unit: "input_tokens", window: "minute" },
  output_tpm: { unit: "output_tokens", window: "minute" },
} as const satisfies Record<string, { unit: Unit; window: WindowName }>;

export type LimitName = keyof typeof limitNames;

/** Limits by their short names; `undefined` is none. */
export type LimitValues = Partial<Record<LimitName, number | undefined>>;

/** At most `limit` requests or tokens in each window. */
export interface Limit {
  unit: Unit;
  window: WindowName;
  windowMs: number;
  limit: number;
}

/** What one request costs in each unit; what is left out is 0. */
export type Cost = Partial<Record<Unit, number>>;

/**
 * Milliseconds in a window where a minute lasts `minuteMs`: tests shorten the minute, and hours and days with
 * it. A second stays a second, since rates by the second need no shortening.
 */
export function windowLengthMs(window: WindowName, minuteMs: number): number {
  const minutes = { minute: 1, hour: 60, day: 1440 } as const;
  return window === "second" ? 1000 : minutes[window] * minuteMs;
}

/** The limits that `values` gives a number, requests before tokens, short windows before long ones. */
export function limitsFrom(values: LimitValues, minuteMs: number): Limit[] {
  const limits: Limit[] = [];
  for (const name of Object.keys(limitNames) as LimitName[]) {
    const limit = values[name];
    if (limit === undefined) continue;
    const { unit, window } = limitNames[name];
    limits.push({ unit, window, windowMs: windowLengthMs(window, minuteMs), limit });
  }
  return limits;
}
