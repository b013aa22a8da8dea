export type Unit = "requests" | "tokens";
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
} as const satisfies Record<string, { unit: Unit; window: WindowName }>;

export type LimitName = keyof typeof limitNames;

/** At most `limit` requests or tokens in each window. */
export interface Limit {
  unit: Unit;
  window: WindowName;
  windowMs: number;
  limit: number;
}

/** What one request costs. */
export interface Cost {
  requests: number;
  tokens: number;
}

/**
 * Milliseconds in a window where a minute lasts `minuteMs`: tests shorten the minute, and hours and days with
 * it. A second stays a second, since rates by the second need no shortening.
 */
export function windowLengthMs(window: WindowName, minuteMs: number): number {
  const minutes = { minute: 1, hour: 60, day: 1440 } as const;
  return window === "second" ? 1000 : minutes[window] * minuteMs;
}

/** The limits that `values` gives a number, requests before tokens, short windows before long ones. */
export function limitsFrom(
  values: Partial<Record<LimitName, number | undefined>>,
  minuteMs: number,
): Limit[] {
  const limits: Limit[] = [];
  for (const name of Object.keys(limitNames) as LimitName[]) {
    const limit = values[name];
    if (limit === undefined) continue;
    const { unit, window } = limitNames[name];
    limits.push({ unit, window, windowMs: windowLengthMs(window, minuteMs), limit });
  }
  return limits;
}
