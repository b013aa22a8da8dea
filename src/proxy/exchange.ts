import type { Lease } from "../admission/lease.ts";
import type { Refusal } from "../admission/request.ts";
import type { ClientCost } from "../client/algorithm.ts";
import type { ClientIdentity } from "../client/identity.ts";
import type { ClientLimiter } from "../client/limiter.ts";
import type { ClientRefusal } from "../client/refusal.ts";
import type { Clock } from "../clock.ts";
import type { Account } from "../ledger/account.ts";
import type { Cost } from "../limit/cost.ts";
import { oneRequest } from "../limit/cost.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Provider } from "../provider/provider.ts";
import type { Cancellation } from "../upstream/cancellation.ts";
import type { Asking } from "./asking.ts";
import type { Estimate } from "./estimate.ts";
import type { RightSize } from "./right-size.ts";

/** Where finished requests are reported. */
export interface Observers {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clients: ClientLimiter;
}

/** Who is told that a request has ended. */
export interface Ended {
  ended(): void;
}

/**
 * One request from arrival to its last byte: what is known of it so far, and the one place where it ends. Whatever
 * way it goes out, `finish` settles its lease, counts it and writes its log line, once.
 */
export class Exchange {
  readonly id = crypto.randomUUID();
  readonly startedAt: number;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  client: ClientIdentity = unknownClient;
  /** In whose dialect errors of ours are told: the provider of the quota that may apply, and what the client speaks. */
  provider: Provider | null = null;
  readonly anthropicVersion: string | null;
  /** The host asked for, as limits name it; empty where there is none. */
  upstream = "";
  /** The path as the upstream knows it, by which the call's format is told. */
  apiPath: string;
  model: string | null = null;
  /** Whether the client asked for the answer in parts. */
  streamed = false;
  /** The quota's account, where one applies. */
  quota: Account | null = null;
  estimate: Estimate | null = null;
  /** What it costs where no tokens are counted. */
  plainCost: Readonly<Cost> = oneRequest;
  /** Where the quota has over-large caps lowered. */
  rightSize: RightSize | null = null;
  lease: Lease | null = null;
  /** What the client's own limit was charged for the request, and when; null where it was not asked or refused. */
  taken: Taken | null = null;
  /** The same for its tokens. */
  takenTokens: Taken | null = null;
  /** Why the client's own limit let it not go. */
  clientRefusal: ClientRefusal | null = null;
  /** The upstream's call, from its beginning. */
  call: Cancellation | null = null;
  /** Whether it has taken so long that it has to be looked after; see the pipeline. */
  isLong = false;
  /** `X-Cache`, null where there is no cache. */
  cacheResult: "HIT" | "MISS" | "BYPASS" | null = null;
  /** How it stands to requests that ask the same. */
  asking: Asking | null = null;
  /** Whether the answer is one that was kept, or another's. */
  isReused = false;
  sentAt: number | null = null;
  firstByteAt: number | null = null;
  /** When our answer's head was ready. */
  answeredAt: number | null = null;

  /** Waits before tries that the upstream has turned away, and what those tries took, ms. */
  #waitedBefore = 0;
  #upstreamBefore = 0;
  /** Whether a try before this one has left. */
  #hadLeft = false;
  #onceLong: (() => void) | null = null;

  readonly #observers: Observers;
  readonly #ended: Ended;
  #open = true;

  /** @param ended told once, when the request has ended */
  constructor(
    observers: Observers,
    method: string,
    path: string,
    anthropicVersion: string | null,
    ended: Ended,
  ) {
    this.#observers = observers;
    this.#ended = ended;
    this.startedAt = observers.clock.now();
    this.method = method;
    this.path = path;
    this.apiPath = path;
    this.anthropicVersion = anthropicVersion;
  }

  get waitedMs(): number {
    return this.#waitedBefore + (this.lease?.waitedMs ?? 0);
  }

  /** The body with the cap that it was admitted with; null where it goes as the client sent it. */
  resizedBody(): Uint8Array | null {
    const sentCap = this.estimate?.sentCap ?? null;
    return sentCap === null ? null : (this.rightSize?.bodyFor(sentCap) ?? null);
  }

  /** Calls `run` once the request is long, at once if it is. What was to be called before is not. */
  onceLong(run: () => void): void {
    if (this.isLong) run();
    else this.#onceLong = run;
  }

  /** It has taken so long that it has to be looked after. */
  becomeLong(): void {
    this.isLong = true;
    this.#onceLong?.();
  }

  /** Aborted when nobody waits for the answer to `request` any more: where others do, the client's leaving ends nothing. */
  signalOf(request: Request): AbortSignal {
    return this.asking?.flight?.signal ?? request.signal;
  }

  /** Waits for admission. Where it ends in a refusal, or the client leaves, the wait counts all the same. */
  async waitFor(admitted: Promise<Lease | Refusal>): Promise<Lease | Refusal> {
    const { clock } = this.#observers;
    const begunAt = clock.now();
    let goes = false;
    try {
      const outcome = await admitted;
      goes = !("refused" in outcome);
      return outcome;
    } finally {
      if (!goes) this.#waitedBefore += clock.now() - begunAt;
    }
  }

  /** It has waited for another's call since `begunAt`, which left at `departedAt`, both ms since the epoch. */
  followed(begunAt: number, departedAt: number | null): void {
    const now = this.#observers.clock.now();
    const queuedMs = Math.max(0, (departedAt ?? now) - begunAt);
    this.#waitedBefore += queuedMs;
    this.#upstreamBefore += now - begunAt - queuedMs;
  }

  /** It was kept back for `ms` between two tries, for a reason that no queue knows of. */
  paused(ms: number): void {
    this.#waitedBefore += ms;
  }

  /** The request leaves for the upstream. `now` is ms since the epoch. */
  dispatched(now: number): void {
    this.sentAt = now;
    this.asking?.flight?.depart(now);
    this.estimate?.started();
  }

  /** The upstream's headers are here. */
  answered(): void {
    this.firstByteAt = this.#observers.clock.now();
    this.lease?.arrived();
    if (this.sentAt !== null)
      this.#observers.metrics.upstreamFirstByte(this.upstream, this.firstByteAt - this.sentAt);
  }

  /** The upstream has turned this try away, which cost `charged`; the request will go again. */
  turnedAway(charged: Readonly<Cost>): void {
    this.#upstreamBefore += this.upstreamMs;
    this.#waitedBefore = this.waitedMs;
    this.estimate?.ended();
    this.lease?.commit(charged);
    this.#hadLeft = true;
    this.lease = null;
    this.sentAt = null;
    this.firstByteAt = null;
  }

  /** Our answer goes out from here. */
  replied(): void {
    this.answeredAt ??= this.#observers.clock.now();
  }

  /** Milliseconds since the request left. */
  get upstreamMs(): number {
    return this.sentAt === null ? 0 : this.#observers.clock.now() - this.sentAt;
  }

  /**
   * Ends the request. Calls after the first change nothing.
   * @param charged what it cost; null: what was reserved, if it left at all
   * @param counted what the provider goes on counting for it
   */
  finish(
    status: number,
    outcome: string,
    charged: Readonly<Cost> | null = null,
    counted: Readonly<Cost> | null = charged,
  ): void {
    if (!this.#open) return;
    this.#open = false;
    const { clock, log, metrics } = this.#observers;
    const { lease, estimate, sentAt } = this;
    const now = clock.now();
    const actual = charged ?? lease?.reserved ?? oneRequest;
    if (sentAt !== null) {
      estimate?.ended();
      lease?.commit(actual, counted ?? actual);
    } else lease?.cancel();
    // Given to the upstream, it may still not have left: there was no connection.
    const hasLeft = sentAt !== null && lease?.cancelled !== true;
    this.#settleClient(hasLeft ? actual : null);

    metrics.request(this.upstream, outcome);
    if (this.cacheResult !== null) metrics.cacheRequest(cacheLabels[this.cacheResult]);
    const upstreamMs = sentAt === null ? 0 : (this.firstByteAt ?? now) - sentAt;
    metrics.overhead(
      Math.max(
        0,
        (this.answeredAt ?? now) -
          this.startedAt -
          this.waitedMs -
          upstreamMs -
          this.#upstreamBefore,
      ),
    );
    if (this.quota !== null) this.#countQuota(this.quota, hasLeft ? actual : null);
    log.request({
      request_id: this.id,
      client: this.client.id,
      upstream: this.upstream,
      method: this.method,
      path: this.path,
      status,
      model: this.model,
      tokens_reserved: estimate?.cost.total_tokens ?? null,
      tokens_charged: estimate === null || !hasLeft ? null : actual.total_tokens,
      wait_ms: round(this.waitedMs),
      upstream_ms:
        this.firstByteAt === null || sentAt === null ? null : round(this.firstByteAt - sentAt),
      total_ms: round(now - this.startedAt),
      outcome,
    });
    this.#ended.ended();
  }

  /**
   * What the client's own limit was charged becomes what the request cost; nothing, where it never left. An answer that
   * was kept or another's is a request, and costs no tokens.
   */
  #settleClient(actual: Readonly<Cost> | null): void {
    const { taken, takenTokens, client } = this;
    const { clients } = this.#observers;
    if (actual === null && !this.#hadLeft) {
      if (taken !== null && !this.isReused) clients.giveBack(client, taken, taken.at);
      if (takenTokens !== null) clients.giveBack(client, takenTokens, takenTokens.at);
    } else if (takenTokens !== null) {
      const used = actual?.total_tokens ?? 0;
      clients.settle(client, used - takenTokens.tokens, takenTokens.at);
    }
  }

  #countQuota(quota: Account, actual: Readonly<Cost> | null): void {
    const { metrics } = this.#observers;
    const { label } = quota.spec;
    if (this.lease !== null) metrics.queueWait(label, this.waitedMs);
    if (this.estimate === null || actual === null) return;
    const model = this.model ?? "";
    metrics.tokens(label, model, "reserved", this.estimate.cost.total_tokens);
    metrics.tokens(label, model, "input", actual.input_tokens);
    metrics.tokens(label, model, "output", actual.output_tokens);
    const free = actual.total_tokens - actual.tokens;
    if (free > 0) metrics.tokens(label, model, "cached", free);
    if (actual.input_tokens > 0) {
      metrics.estimateError(label, this.estimate.cost.input_tokens / actual.input_tokens - 1);
    }
  }
}

/** What a client's own limit was charged, at `at` (ms since the epoch). */
interface Taken extends ClientCost {
  readonly at: number;
}

const cacheLabels = { HIT: "hit", MISS: "miss", BYPASS: "bypass" } as const;

const unknownClient: ClientIdentity = {
  id: "unknown",
  credential: "none",
  name: null,
  tier: null,
  keyHeaders: [],
};

function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
