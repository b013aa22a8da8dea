import type { Clock } from "./clock.ts";

export type CircuitState = "closed" | "open" | "half_open";

export interface BreakerOptions {
  /** Consecutive failures that open a circuit. */
  failures: number;
  /** How long it stays open, ms. */
  openMs: number;
}

/** As the contract has it (section 4). */
const defaults: BreakerOptions = { failures: 10, openMs: 60_000 };

/** Told to those who come while a probe is under way, ms. */
const probeMs = 1_000;
/** For so long no other process probes while one does, ms: it may have died with its probe. */
const othersProbeMs = 5_000;

/** Circuits in good order are forgotten above this many. */
const mostCircuits = 1_000;

/** What the other processes are told of a circuit. */
export interface CircuitNews {
  readonly state: CircuitState;
  /** Until when nothing goes, ms since the epoch. */
  readonly until: number;
  /** Quotas whose requests failed. */
  readonly quotas: readonly string[];
}

/** The right to send one request; to be given back with exactly one verdict. */
export interface Pass {
  readonly upstream: string;
  /** Verdicts on requests that left before the circuit last changed are about another time. */
  readonly enteredAt: number;
  readonly probe: boolean;
}

interface Circuit {
  state: CircuitState;
  failures: number;
  openUntil: number;
  /** When `state` last changed. */
  since: number;
  probing: boolean;
  /** Quotas whose requests failed here. */
  readonly quotas: Set<string>;
}

/**
 * A circuit for each upstream (Nygard, "Release It!"): closed while it answers, open after many rate-limit or overload
 * errors in a row, then half open: one request at a time probes it, success closes it again.
 *
 * Upstreams that have not failed have no circuit, and cost a look into an empty map.
 */
export class Breaker {
  readonly #clock: Clock;
  readonly #options: BreakerOptions;
  readonly #circuits = new Map<string, Circuit>();
  /** Set where other processes share the circuits; called with what they have to know. */
  onNews: ((upstream: string, news: CircuitNews) => void) | null = null;

  constructor(clock: Clock, options: BreakerOptions = defaults) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Ms until a request for `upstream` may be tried again; null where it may go now. */
  blocked(upstream: string): number | null {
    const circuit = this.#circuits.get(upstream);
    if (circuit === undefined || circuit.state === "closed") return null;
    const left = circuit.openUntil - this.#clock.now();
    if (left > 0) return left;
    return circuit.probing ? probeMs : null;
  }

  /** Lets a request go at `enteredAt`, now; null where `blocked` says that it may not. */
  enter(upstream: string, enteredAt: number): Pass | null {
    const circuit = this.#circuits.get(upstream);
    if (circuit === undefined || circuit.state === "closed")
      return { upstream, enteredAt, probe: false };
    if (this.blocked(upstream) !== null) return null;
    if (circuit.state === "open") this.#change(circuit, "half_open");
    circuit.probing = true;
    this.#tell(upstream, circuit, enteredAt + othersProbeMs);
    return { upstream, enteredAt, probe: true };
  }

  /** The upstream has served the request. */
  succeeded(pass: Pass): void {
    const circuit = this.#judged(pass);
    if (circuit === null) return;
    circuit.failures = 0;
    circuit.quotas.clear();
    if (circuit.state === "closed") return;
    this.#change(circuit, "closed");
    this.#tell(pass.upstream, circuit, circuit.since);
  }

  /**
   * The upstream has turned the request away.
   * @param quota the name of its quota, if any
   * @param waitMs how long the upstream says that this will last; null where it does not
   */
  failed(pass: Pass, quota: string | null, waitMs: number | null): void {
    const { upstream } = pass;
    if (!this.#circuits.has(upstream)) this.#circuits.set(upstream, this.#fresh());
    const circuit = this.#judged(pass);
    if (circuit === null) return;
    if (quota !== null) circuit.quotas.add(quota);
    circuit.failures++;
    if (circuit.state === "closed" && circuit.failures < this.#options.failures) return;
    this.#change(circuit, "open");
    circuit.openUntil = circuit.since + Math.max(this.#options.openMs, waitMs ?? 0);
    this.#tell(upstream, circuit, circuit.openUntil);
  }

  /** Another process tells how the circuit of `upstream` stands: so it stands here, and a probe of ours goes on. */
  heard(upstream: string, { state, until, quotas }: CircuitNews): void {
    if (state === "closed" && !this.#circuits.has(upstream)) return;
    const circuit = this.#circuits.get(upstream) ?? this.#fresh();
    this.#circuits.set(upstream, circuit);
    this.#change(circuit, state);
    circuit.openUntil = until;
    if (state === "closed") circuit.quotas.clear();
    else for (const quota of quotas) circuit.quotas.add(quota);
  }

  /** Nothing was learned: the client left, or what came says nothing about how busy the upstream is. */
  released(pass: Pass): void {
    this.#judged(pass);
  }

  /** How things stand with every upstream that has failed lately. */
  *states(): Iterable<{ upstream: string; state: CircuitState }> {
    for (const [upstream, { state }] of this.#circuits) yield { upstream, state };
  }

  /** The state of the circuit that requests of a quota have run into. */
  stateOf(quota: string): CircuitState {
    for (const circuit of this.#circuits.values()) {
      if (circuit.state !== "closed" && circuit.quotas.has(quota)) return circuit.state;
    }
    return "closed";
  }

  /** The circuit that a verdict on `pass` is about; null where it comes too late to say anything. */
  #judged(pass: Pass): Circuit | null {
    const circuit = this.#circuits.get(pass.upstream);
    if (circuit === undefined) return null;
    if (pass.probe) circuit.probing = false;
    else if (circuit.state !== "closed" || pass.enteredAt < circuit.since) return null;
    return circuit;
  }

  #tell(upstream: string, { state, quotas }: Circuit, until: number): void {
    this.onNews?.(upstream, { state, until, quotas: [...quotas] });
  }

  #change(circuit: Circuit, state: CircuitState): void {
    circuit.state = state;
    circuit.since = this.#clock.now();
    circuit.failures = 0;
    circuit.probing = false;
  }

  #fresh(): Circuit {
    if (this.#circuits.size >= mostCircuits) {
      for (const [upstream, { state }] of this.#circuits) {
        if (state === "closed") this.#circuits.delete(upstream);
      }
    }
    return {
      state: "closed",
      failures: 0,
      openUntil: 0,
      since: -Infinity,
      probing: false,
      quotas: new Set(),
    };
  }
}
