import { UsageError } from "../errors.ts";
import type { Call, Reading } from "./call.ts";
import { readHints } from "./hints.ts";
import type { Hints } from "./hints.ts";
import { windowLengthMs } from "./limit.ts";
import type { Unit } from "./limit.ts";
import type { MockSettings } from "./options.ts";
import { planCall } from "./plan.ts";
import type { MeteredCall, Plan } from "./plan.ts";
import { profiles } from "./profiles.ts";
import type { Profile } from "./profile.ts";
import { createQuota } from "./quota.ts";
import type { Decision, Quota } from "./quota.ts";
import { randomFor } from "./random.ts";
import { streamFrames } from "./stream.ts";
import { createTally } from "./tally.ts";
import type { CallTally, MockStats, Tally } from "./tally.ts";
import type { LogEntry, Watch } from "./usage-log.ts";
import { waitUntil } from "./wait.ts";

/** The simulated provider without its socket. */
export interface Exchange {
  /** Answers one request as the provider would; settles when the answer has ended or the client has gone. */
  answer(request: Request): Promise<Response>;
  stats: () => MockStats;
  /** The newest `count` counted requests, oldest first. */
  log: (count: number) => LogEntry[];
  /** Fills the quota up and forgets every count; calls in flight end in the books they began in. */
  reset: () => void;
}

/** An admitted call, and how it is settled: once, by whatever way it ends. */
interface Admitted {
  call: MeteredCall;
  plan: Plan;
  tally: CallTally;
  headers: () => Record<string, string>;
  settle: (how: "done" | "aborted", outputTokens: number) => void;
  /** A call that failed costs its request, but no tokens. */
  settleFailed: () => void;
}

/** Nginx's status for a client that went away; nobody is there to read it. */
const clientGoneStatus = 499;

/** Builds a provider that behaves as `settings` say. */
export function createExchange(settings: MockSettings): Exchange {
  const { clock, limits, algorithm, burst } = settings;
  const profile: Profile = profiles[settings.profile];
  const openBooks = (): { quota: Quota; tally: Tally } => ({
    quota: createQuota(limits, algorithm, burst),
    tally: createTally(watchesFor(settings, profile)),
  });
  let books = openBooks();

  const answer = async (request: Request): Promise<Response> => {
    const { quota, tally: allCalls } = books;
    const tally = allCalls.arrive();

    const reading = await read(request, tally.index);
    if (reading === "gone")
      return finish(tally, "aborted", new Response(null, { status: clientGoneStatus }));
    if (reading.kind === "problem") {
      return finish(tally, "done", profile.error(reading.status, reading.message));
    }
    const { call, hints } = reading;
    if (call.kind === "free") return finish(tally, "done", json(call.body, 200, {}));

    const startedAt = clock.now();
    const plan = planCall(settings, profile, call, hints, randomFor(settings.seed, tally.index));
    // Not woken by an abort: a call that left its client may be counted all the same.
    if (plan.countAfterMs > 0) await waitUntil(clock, startedAt + plan.countAfterMs);

    const now = clock.now();
    const headers = (): Record<string, string> => profile.headers(quota.state(clock.now()));
    const decision = quota.take({ requests: 1, tokens: plan.reservedTokens }, now);
    if (decision.kind === "refused") return refuse(tally, decision, headers());
    tally.admit(plan.reservedTokens, now);

    const settleTokens = (how: "done" | "aborted", tokens: number): void => {
      if (tally.end(how, tokens, clock.now())) decision.charge.revise(tokens, clock.now());
    };
    const settle = (how: "done" | "aborted", outputTokens: number): void =>
      settleTokens(how, plan.promptTokens + outputTokens);

    if (plan.latencyMs > 0) await waitUntil(clock, startedAt + plan.latencyMs, request.signal);
    if (request.signal.aborted) {
      const share = plan.latencyMs > 0 ? (clock.now() - startedAt) / plan.latencyMs : 1;
      settle("aborted", Math.floor(plan.outputTokens * Math.min(1, share)));
      return new Response(null, { status: clientGoneStatus });
    }
    const settleFailed = (): void => settleTokens("done", 0);
    return succeed({ call, plan, tally, headers, settle, settleFailed }, request.signal);
  };

  /** Reads the request to its end; `gone` when the client left before. */
  const read = async (
    request: Request,
    index: number,
  ): Promise<
    Extract<Reading, { kind: "problem" }> | { kind: "call"; call: Call; hints: Hints } | "gone"
  > => {
    const { streamUsage, tokensPerChunk } = settings;
    const createdSeconds = Math.floor(clock.now() / 1000);
    try {
      const hints = readHints(request.headers);
      const context = { index, createdSeconds, streamUsage, tokensPerChunk };
      const reading = await profile.read(request, new URL(request.url), context);
      return reading.kind === "call" ? { ...reading, hints } : reading;
    } catch (error) {
      if (error instanceof UsageError)
        return { kind: "problem", status: 400, message: error.message };
      if (request.signal.aborted) return "gone";
      throw error;
    }
  };

  const succeed = (admitted: Admitted, signal: AbortSignal): Response => {
    const { call, plan, tally, headers, settle, settleFailed } = admitted;
    const status = plan.status ?? 200;
    if (status >= 400) {
      tally.injectError();
      settleFailed();
      return count(
        tally,
        withHeaders(profile.error(status, "Injected by the simulator."), headers()),
      );
    }
    if (call.kind === "generation" && call.frames) {
      const frames = call.frames(plan.outputTokens);
      const body = streamFrames(frames, settings.chunkIntervalMs, clock, signal, settle);
      const type = { "content-type": "text/event-stream", "cache-control": "no-cache" };
      return count(tally, new Response(body, { status, headers: { ...type, ...headers() } }));
    }
    settle("done", call.kind === "generation" ? plan.outputTokens : 0);
    const body = call.kind === "generation" ? call.body(plan.outputTokens) : call.body;
    return count(tally, json(body, status, headers()));
  };

  const refuse = (
    tally: CallTally,
    { by, waitMs }: Extract<Decision, { kind: "refused" }>,
    headers: Record<string, string>,
  ): Response => {
    tally.refuse();
    const response = withHeaders(profile.refusal(by), headers);
    // A call over the whole limit fits at no time, so none is named.
    if (waitMs !== Infinity) response.headers.set("retry-after", String(Math.ceil(waitMs / 1000)));
    return finish(tally, "done", response);
  };

  /** Ends a call that the quota never held. */
  const finish = (tally: CallTally, how: "done" | "aborted", response: Response): Response => {
    tally.end(how, 0, clock.now());
    return how === "done" ? count(tally, response) : response;
  };

  return {
    answer,
    stats: () => books.tally.stats(clock.now()),
    log: (size) => books.tally.log(size),
    reset: () => void (books = openBooks()),
  };
}

/** Every limit, and the minute of what has none: whoever tests without limits wants to see the peak too. */
function watchesFor({ limits, windowMs }: MockSettings, profile: Profile): Watch[] {
  const units: Unit[] = profile.metersTokens ? ["requests", "tokens"] : ["requests"];
  const unlimited = units
    .filter((unit) => !limits.some((limit) => limit.unit === unit && limit.window === "minute"))
    .map((unit) => ({
      unit,
      window: "minute" as const,
      windowMs: windowLengthMs("minute", windowMs),
      limit: null,
    }));
  return [...limits, ...unlimited];
}

function count(tally: CallTally, response: Response): Response {
  tally.status(response.status);
  return response;
}

function json(body: string, status: number, headers: Record<string, string>): Response {
  const hasBody = status !== 204 && status !== 304;
  const type = { "content-type": "application/json" };
  return new Response(hasBody ? body : null, { status, headers: { ...type, ...headers } });
}

function withHeaders(response: Response, headers: Record<string, string>): Response {
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
  return response;
}
