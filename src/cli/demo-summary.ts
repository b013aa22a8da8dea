import { countOf, quantile } from "./demo-load.ts";
import type { Answer } from "./demo-load.ts";
import { seconds, table } from "./demo-view.ts";

/** The provider's quota, in a window short enough to watch. */
export const limits = { rps: 20, tpm: 30_000 } as const;

/** One of the demo's two runs, as told by the clients and by the provider. */
export interface Run {
  answers: readonly Answer[];
  refused: number;
  mostInASecond: number;
  tokensUsed: number;
}

/** The two runs side by side, as lines. */
export function summary(straight: Run, held: Run): string {
  const waits = held.answers.map(({ waitedMs }) => waitedMs);
  const row = (name: string, of: (run: Run) => string): string[] => [name, of(straight), of(held)];
  return table([
    ["", "straight", "through Cooldown"],
    row("requests at once", ({ answers }) => String(answers.length)),
    row("answered", ({ answers }) => String(countOf(answers, 200))),
    row("429 from the provider", ({ refused }) => String(refused)),
    row("most in any second", ({ mostInASecond }) => `${mostInASecond} of ${limits.rps}`),
    row("until the last answer", ({ answers }) =>
      seconds(Math.max(0, ...answers.map(({ endedAfterMs }) => endedAfterMs))),
    ),
    ["longest wait in the queue", "-", seconds(quantile(waits, 1))],
    ["half waited less than", "-", seconds(quantile(waits, 0.5))],
    ["tokens reserved in advance", "-", thousands(sum(held.answers))],
    row("tokens used in the end", ({ tokensUsed }) => thousands(tokensUsed)),
    ["share of the quota used", "-", share(held.answers.length, quantile(waits, 1))],
  ]);
}

/** Of the requests that the quota allows from the start to a second after the last one left. */
function share(count: number, lastLeftMs: number): string {
  const allowed = limits.rps * (1 + lastLeftMs / 1_000);
  return `${Math.min(100, Math.round((count / allowed) * 100))} %`;
}

function sum(answers: readonly Answer[]): number {
  return answers.reduce((total, { reservedTokens }) => total + reservedTokens, 0);
}

/** `12,345`. */
export function thousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
