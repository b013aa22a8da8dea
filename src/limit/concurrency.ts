import { Forecast } from "./forecast.ts";
import type { Entry, Limit, LimitSpec, LimitUsage, Mark, Outlook } from "./limit.ts";
import { newEntry } from "./limit.ts";

/** Forecasts of when running requests end: 60 s ahead in steps of 100 ms. */
const forecastSliceMs = 100;
const forecastSlices = 600;

/**
 * Concurrency: at most `max` requests in flight. Only endings make room, never time alone, so the worst case of a
 * full limit is Infinity and the best is now.
 */
export class Concurrency implements Limit {
  readonly unit = "slots" as const;
  readonly window = null;
  readonly key = "concurrency";
  #max: number;
  #running = 0;
  readonly #forecast = new Forecast(forecastSliceMs, forecastSlices);

  readonly unsaved = false;

  constructor(spec: LimitSpec & { kind: "concurrency" }) {
    this.#max = spec.max;
  }

  get max(): number {
    return this.#max;
  }

  fits(_now: number, amount: number): boolean {
    return this.#running + amount <= this.#max;
  }

  fitsAt(now: number, amount: number): number {
    return this.fits(now, amount) ? now : Infinity;
  }

  expectedAt(now: number, amount: number): number {
    let need = this.#running + amount - this.#max;
    if (need <= 0) return now;
    const first = Math.floor(now / forecastSliceMs) + 1;
    for (let slice = first; slice < first + forecastSlices; slice++) {
      need -= this.#forecast.within(now, slice);
      if (need <= 0) return slice * forecastSliceMs;
    }
    return Infinity;
  }

  earliestAt(now: number): number {
    return now;
  }

  roomAt(): number {
    return this.#max - this.#running;
  }

  expectedRoomAt(now: number, at: number): number {
    return this.#max - this.#running + this.#forecast.by(now, at);
  }

  charge(now: number, amount: number, outlook: Outlook | null): Entry {
    const entry = newEntry(amount, now);
    this.#running += amount;
    // A slot comes back whole when its request ends, whatever else that is charged.
    if (outlook !== null) this.#forecast.add(entry, now, { endAt: outlook.endAt, amount: 0 });
    return entry;
  }

  sent(): void {}

  arrived(entry: Entry): void {
    if (entry.state === "held") entry.state = "counted";
  }

  settle(entry: Entry, now: number): void {
    this.release(entry, now);
  }

  release(entry: Entry, now: number): void {
    if (entry.state === "closed") return;
    this.#forecast.remove(entry, now);
    entry.state = "closed";
    this.#running -= entry.amount;
  }

  /** Slots are ours alone. */
  hint(): void {}

  refused(): void {}

  usage(): LimitUsage {
    const remaining = Math.max(0, this.#max - this.#running);
    return { limit: this.#max, used: 0, reserved: this.#running, remaining };
  }

  resize(spec: LimitSpec): void {
    if (spec.kind === "concurrency") this.#max = spec.max;
  }

  takeMarks(): Mark[] {
    return [];
  }

  restore(): void {}

  idle(): boolean {
    return this.#running === 0;
  }
}
