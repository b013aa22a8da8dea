import { UsageError } from "../errors.ts";
import { aborted, clientGone, closedConnection, jsonAnswer, withHeaders } from "./answers.ts";
import type { Call, Reading } from "./call.ts";
import { complete } from "./completion.ts";
import { createExternalLoad } from "./external-load.ts";
import { createFaults } from "./faults.ts";
import type { FaultRule, PendingFault, Replacement } from "./faults.ts";
import { promptFrom, readHints, readTag } from "./hints.ts";
import type { Hints } from "./hints.ts";
import { windowLengthMs } from "./limit.ts";
import type { Limit, LimitValues } from "./limit.ts";
import { limitsOf, readLimits } from "./options.ts";
import type { MockSettings } from "./options.ts";
import { drawLatencyMs, planCall } from "./plan.ts";
import { profiles } from "./profiles.ts";
import type { Profile } from "./profile.ts";
import { createQuota } from "./quota.ts";
import type { Quota } from "./quota.ts";
import { randomFor } from "./random.ts";
import type { RequestEntry, RequestKind } from "./request-log.ts";
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
  /** The last requests that arrived, whatever became of them. */
  requests: () => RequestEntry[];
  addFault: (rule: FaultRule) => void;
  /** The rules that are not used up. */
  faults: () => PendingFault[];
  clearFaults: () => void;
  limits: () => readonly Limit[];
  /**
   * Changes limits while it runs; what was counted stays. 0 takes a limit away.
   *
   * @throws UsageError where a value is no limit.
   */
  setLimits: (values: LimitValues) => void;
  /** Fills the quota up and forgets every count and fault; calls in flight end in the books they began in. */
  reset: () => void;
  /** Ends the external load. */
  stop: () => void;
}

/** Builds a provider that behaves as `settings` say. */
export function createExchange(settings: MockSettings): Exchange {
  const { clock, algorithm, burst } = settings;
  const profile: Profile = profiles[settings.profile];
  const faults = createFaults(outage(settings));
  let { limits, limitValues } = settings;
  const openBooks = (): { quota: Quota; tally: Tally } => ({
    quota: createQuota(limits, algorithm, { burst, chargesRefused: profile.chargesRefused }),
    tally: createTally(watchesFor(limits, profile, settings.windowMs)),
  });
  let books = openBooks();
  const load = createExternalLoad(settings, profile, () => ({ ...books, limits }));

  const answer = async (request: Request): Promise<Response> => {
    load.start();
    const startedAt = clock.now();
    const { quota, tally: allCalls } = books;
    const tally = allCalls.arrive(startedAt, readTag(request.headers));
    const id = `req_mock_${tally.index}`;
    const script = faults.next(startedAt);
    const random = randomFor(settings.seed, tally.index);

    const reading = await read(request, tally.index);
    if (reading === "gone") return finish(tally, "gone", clientGone());
    if (script?.kind === "answer" || script?.kind === "reset" || script?.kind === "stall") {
      const hinted = reading.kind === "call" ? reading.hints.latencyMs : null;
      const latencyMs = hinted ?? drawLatencyMs(settings, random);
      await waitUntil(clock, startedAt + latencyMs, request.signal);
      return perform(script, tally, id, request.signal);
    }
    const dress = (response: Response): Response =>
      withHeaders(withHeaders(response, idHeader(id)), script?.headers ?? {});
    if (reading.kind === "problem") {
      return finish(tally, "rejected", dress(profile.error(reading.status, reading.message, id)));
    }
    const { call, hints } = reading;
    if (call.kind === "free") return finish(tally, "free", dress(jsonAnswer(call.body, 200)));
    if (settings.insufficientQuota && profile.outOfCredit)
      return finish(tally, "rejected", dress(profile.outOfCredit(id)));

    const plan = planCall(settings, profile, call, hints, random);
    // Not woken by an abort: a call that left its client may be counted all the same.
    if (plan.countAfterMs > 0) await waitUntil(clock, startedAt + plan.countAfterMs);

    const now = clock.now();
    const decision = quota.take(plan.reserved, now);
    if (decision.kind === "refused") {
      const response = profile.refusal({ ...decision, model: call.model }, id);
      return finish(tally, "refused", dress(withHeaders(response, headersOf(quota))));
    }
    tally.admit(plan.reserved, now);
    const fate = script?.kind === "cut" ? script.kind : plan.fate;
    const admitted = {
      call,
      plan: { ...plan, fate },
      tally,
      charge: decision.charge,
      id,
      startedAt,
    };
    const response = await complete(admitted, settings, profile, request.signal);
    return dress(withHeaders(response, headersOf(quota)));
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
      const prompt = promptFrom.bind(null, hints);
      const context = { index, createdSeconds, streamUsage, tokensPerChunk, prompt };
      const reading = await profile.read(request, new URL(request.url), context);
      return reading.kind === "call" ? { ...reading, hints } : reading;
    } catch (error) {
      if (error instanceof UsageError)
        return { kind: "problem", status: 400, message: error.message };
      if (request.signal.aborted) return "gone";
      throw error;
    }
  };

  /** Does what a script says, past the quota. */
  const perform = async (
    script: Replacement,
    tally: CallTally,
    id: string,
    signal: AbortSignal,
  ): Promise<Response> => {
    tally.outcome("scripted");
    if (script.kind === "reset") return end(tally, "done", closedConnection());
    if (script.kind === "stall") {
      await aborted(signal);
      return end(tally, "aborted", clientGone());
    }
    const { status, body, headers } = script;
    const response =
      body === null && status >= 400
        ? profile.error(status, "Scripted for this request.", id)
        : jsonAnswer(body ?? "{}", status);
    return end(tally, "done", count(tally, withHeaders(response, headers)));
  };

  /** Ends a call that the quota never held. */
  const finish = (tally: CallTally, kind: RequestKind, response: Response): Response => {
    tally.outcome(kind);
    return kind === "gone"
      ? end(tally, "aborted", response)
      : end(tally, "done", count(tally, response));
  };

  const end = (tally: CallTally, how: "done" | "aborted", response: Response): Response => {
    tally.end(how, 0, {}, clock.now());
    return response;
  };

  const idHeader = (id: string): Record<string, string> =>
    profile.idHeader === null ? {} : { [profile.idHeader]: id };

  const headersOf = (quota: Quota): Record<string, string> =>
    profile.headers(quota.state(clock.now()), clock.now());

  return {
    answer,
    stats: () => books.tally.stats(clock.now()),
    log: (size) => books.tally.log(size),
    requests: () => books.tally.requests(),
    addFault: (rule) => faults.add(rule),
    faults: () => faults.pending(clock.now()),
    clearFaults: () => faults.clear(),
    limits: () => limits,
    setLimits(values) {
      limitValues = { ...limitValues, ...readLimits(values) };
      limits = limitsOf(profile, limitValues, settings.windowMs);
      books.quota.resize(limits, clock.now());
      books.tally.watch(watchesFor(limits, profile, settings.windowMs), clock.now());
    },
    reset() {
      books = openBooks();
      faults.clear();
    },
    stop: () => load.stop(),
  };
}

/** The rule that `refuseForMs` makes. */
function outage({ refuseForMs, errorStatus }: MockSettings): FaultRule[] {
  if (refuseForMs <= 0) return [];
  const script = { kind: "answer", status: errorStatus, body: null, headers: {} } as const;
  return [{ script, requests: Infinity, forMs: refuseForMs }];
}

/** Every limit, and the minute of what has none: whoever tests without limits wants to see the peak too. */
function watchesFor(limits: readonly Limit[], profile: Profile, minuteMs: number): Watch[] {
  const unlimited = profile.units
    .filter((unit) => !limits.some((limit) => limit.unit === unit && limit.window === "minute"))
    .map((unit) => ({
      unit,
      window: "minute" as const,
      windowMs: windowLengthMs("minute", minuteMs),
      limit: null,
    }));
  return [...limits, ...unlimited];
}

function count(tally: CallTally, response: Response): Response {
  tally.status(response.status);
  return response;
}
