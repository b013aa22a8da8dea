import { OperationError } from "../errors.ts";

/** One request of the burst, as its client saw it. Times in ms. */
export interface Answer {
  status: number;
  /** From the start of the burst to the last byte of the answer. */
  endedAfterMs: number;
  /** How long Cooldown held it back; 0 where nobody did. */
  waitedMs: number;
  /** Tokens that Cooldown reserved for it before it left; 0 where nobody did. */
  reservedTokens: number;
}

/** Every so many requests, one asks for a long answer. */
const largeEvery = 20;
const smallOutput = 200;
const largeOutput = 2_000;

/**
 * Sends `count` chat requests to `url` at once and resolves when all are answered.
 *
 * @param onAnswer called at each answer
 * @throws OperationError when `signal` stops it or `url` cannot be reached
 */
export async function burst(
  url: string,
  count: number,
  signal: AbortSignal,
  onAnswer: (answer: Answer) => void = () => undefined,
): Promise<Answer[]> {
  const startedAt = performance.now();
  const send = async (_: unknown, index: number): Promise<Answer> => {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer demo" },
      body: bodyOf(index),
      signal,
    });
    await response.arrayBuffer();
    const answer = {
      status: response.status,
      endedAfterMs: performance.now() - startedAt,
      waitedMs: Number(response.headers.get("x-cooldown-wait") ?? 0) * 1_000,
      reservedTokens: Number(response.headers.get("x-cooldown-tokens") ?? 0),
    };
    onAnswer(answer);
    return answer;
  };
  try {
    return await Promise.all(Array.from({ length: count }, send));
  } catch (error) {
    if (signal.aborted) throw new OperationError("The demo was stopped before its end.");
    const reason = error instanceof Error ? error.message : String(error);
    throw new OperationError(`The demo could not reach ${url}: ${reason}`, { cause: error });
  }
}

function bodyOf(index: number): string {
  const isLarge = index % largeEvery === largeEvery - 1;
  return JSON.stringify({
    model: "llama3.1-8b",
    max_completion_tokens: isLarge ? largeOutput : smallOutput,
    messages: [{ role: "user", content: `Question ${index}: what is a queue good for?` }],
  });
}

/** How many answers have each status. */
export function countOf(answers: readonly Answer[], status: number): number {
  return answers.filter((answer) => answer.status === status).length;
}

/** The value that `share` (0 to 1) of the numbers do not exceed; 0 of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}
