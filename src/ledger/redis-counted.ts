import type { Report } from "./redis-message.ts";
import { merged } from "./redis-message.ts";

/**
 * What this process has counted of a window or bucket: what Redis has not heard of yet, and, for the case that Redis
 * forgets, all that may still count. Slices and times (ms) are Redis's.
 */
export class Counted {
  readonly #isBucket: boolean;
  readonly #sliceMs: number;
  /** What is not reported yet: by slice, or of a bucket each by its time. */
  #pending = new Map<number, number>();
  #events: [slice: number, amount: number, at: number][] = [];
  readonly #all = new Map<number, number>();

  constructor(isBucket: boolean, sliceMs: number) {
    this.#isBucket = isBucket;
    this.#sliceMs = sliceMs;
  }

  /** Whether there is something to report. */
  get reports(): boolean {
    return this.#pending.size > 0 || this.#events.length > 0;
  }

  /** Counts `amount` in `slice`; a negative one is taken back there. */
  add(slice: number, amount: number, at: number): void {
    this.#tell(slice, amount, at);
    this.#all.set(slice, (this.#all.get(slice) ?? 0) + amount);
    if (this.#all.size > 1_300) this.#forget(slice);
  }

  /** What there is to report, which is taken out of it. */
  take(): Report[] {
    const reports = this.#isBucket ? merged(this.#events) : [...this.#pending];
    this.#pending = new Map();
    this.#events = [];
    return reports;
  }

  /** What was reported was not heard: it is to be reported again, before what came since. */
  putBack(reports: readonly Report[]): void {
    const since = this.#events;
    this.#events = [];
    for (const [slice, amount, at] of reports) this.#tell(slice, amount, at ?? 0);
    this.#events.push(...since);
  }

  /** Redis has forgotten everything: all from `first` on is to be reported. */
  startOver(first: number): void {
    this.#pending = new Map();
    this.#events = [];
    for (const [slice, amount] of [...this.#all].sort(([a], [b]) => a - b))
      if (amount > 0 && slice >= first) this.#tell(slice, amount, slice * this.#sliceMs);
  }

  #tell(slice: number, amount: number, at: number): void {
    if (this.#isBucket) this.#events.push([slice, amount, at]);
    else this.#pending.set(slice, (this.#pending.get(slice) ?? 0) + amount);
  }

  #forget(slice: number): void {
    const oldest = slice - 610;
    for (const known of this.#all.keys()) if (known < oldest) this.#all.delete(known);
  }
}
