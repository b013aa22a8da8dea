/** Predicting how long answers will be: what to reserve where a request sets no cap, and how much of a cap is used. */
import { BoundedMap } from "./bounded-map.ts";
import { type Level, newLevel, observeLevel } from "./drift.ts";
import { discount, emptyAverage, type MovingAverage, observe } from "./moving-average.ts";
import { packLearned, unpackLearned } from "./output-form.ts";
import { FadingHistogram } from "./quantile.ts";
import { Remembered } from "./remembered.ts";

/** Output tokens reserved for a request without a cap while nothing is known of its model. */
export const firstGuess = 1024;

/** Of a normal distribution, 95 % is below the mean + 1.65 σ. */
const margin = 1.65;
/** The share of answers that a reservation covers which nothing else is in flight with. */
const aloneShare = 0.95;
/** Long, for a mean that is exact enough to be multiplied by many in flight: a change is told by `observeLevel`. */
const memory = 160;
/** For what is only compared, and need not be exact. */
const shortMemory = 32;
/** A cell counts as much as the coarser one beside it once it has seen so many answers. */
const cellTrust = 8;
const mostCells = 24;
/** A change that is none costs little here: the margin is larger for a few answers. */
const driftThreshold = 3.5;
/** After a change, what was seen before counts as this many answers. */
const keptAtDrift = 2;
/** Residuals are kept as multiples of 1/1024, so that those below 1 have buckets too. */
const residualUnit = 1024;
const leastResiduals = 64;

/** An answer that has ended. */
export interface FinishedAnswer {
  /** The request's own limit of output tokens, null where it had none. */
  readonly cap: number | null;
  /** Input tokens of the request, as they were estimated when its output was predicted. */
  readonly input?: number;
  /** Output tokens charged. */
  readonly output: number;
  /** From dispatch to the end of the answer. */
  readonly durationMs: number;
}

export interface OutputPredictor {
  /**
   * Output tokens to reserve for one more request without a cap, beside `inFlight` others of its kind:
   * between 1 and `ceiling`, the most that the quota can ever hold.
   *
   * The margin is shared: the sum of n independent answers varies by σ·√n, not n·σ. So n in flight hold n means and
   * 1.65·σ·√n together. Simulated on a chat route, 20 at a time, this covers 95 % at 1.4 times the real use, where a
   * 90th percentile for each request covers 91 % at 2.1 times. A request alone is given its 95th percentile.
   *
   * @param input input tokens of the request, where known: long prompts may have other answers than short ones
   * @param held output tokens that the `inFlight` others hold together, where known. Requests that came when there
   *   were fewer hold more than their share and those that came later less; as the first end, the rest would be
   *   left with too little, unless new ones make it up.
   */
  reserve(key: string, inFlight: number, ceiling: number, input?: number, held?: number): number;
  /**
   * Output tokens that a request with this cap (null: none) and so many input tokens will really use; the cap itself
   * while nothing is known.
   */
  expected(key: string, cap: number | null, input?: number): number | null;
  /** Milliseconds that an answer takes, from dispatch to its end; null while nothing is known. */
  duration(key: string): number | null;
  /** Takes in an answer that has ended by itself; one that was aborted says nothing. */
  learn(key: string, answer: FinishedAnswer): void;
  /** All that was learned, for storing. */
  toJSON(): unknown;
  /** Takes over what was stored; entries that make no sense are left out. */
  restore(stored: unknown): void;
  /** For a store that writes single keys. */
  readonly keys: Remembered<Learned>;
}

/** What is known of the answers of one key. */
export interface Learned {
  /** Output tokens of an answer. */
  readonly output: MovingAverage;
  /** Output tokens / cap, of requests with a cap. */
  readonly capUse: MovingAverage;
  readonly durationMs: MovingAverage;
  /** How far off, in tokens, each way of predicting was. */
  readonly meanError: MovingAverage;
  readonly capUseError: MovingAverage;
  readonly cellError: MovingAverage;
  /** Of output / prediction: tells when a route has changed. */
  readonly level: Level;
  /** Output / prediction: how answers are spread around it. */
  readonly residuals: FadingHistogram;
  /** Output tokens by size of cap, and by size of cap and input: the cells used last. */
  readonly cells: BoundedMap<number, MovingAverage>;
}

function newLearned(): Learned {
  return {
    output: emptyAverage(),
    capUse: emptyAverage(),
    durationMs: emptyAverage(),
    meanError: emptyAverage(),
    capUseError: emptyAverage(),
    cellError: emptyAverage(),
    level: newLevel(),
    residuals: new FadingHistogram(memory),
    cells: new BoundedMap(mostCells),
  };
}

/** The cell of all requests with a cap of this size: none, or by powers of two. */
function cellOfCap(cap: number | null): number {
  return cap === null ? 0 : 16 * (1 + Math.min(40, Math.floor(Math.log2(Math.max(1, cap)))));
}

/** The cell of those among them with input of this size, by powers of four. */
function cellOfBoth(cap: number | null, input: number): number {
  return cellOfCap(cap) + 1 + Math.min(14, Math.floor(Math.log2(Math.max(1, input)) / 2));
}

/**
 * Mean and variance of answers to requests like this one: of the finest cell, mixed with the coarser one above it by
 * how much each has seen, so that a new cell begins with what is known of its neighbours.
 */
function blend(
  { output, cells }: Learned,
  cap: number | null,
  input: number | undefined,
): { mean: number; variance: number } {
  let { mean } = output;
  let square = output.variance + mean ** 2;
  const mix = (cell: MovingAverage | undefined): void => {
    if (cell === undefined) return;
    const share = cell.weight / (cell.weight + cellTrust);
    mean += share * (cell.mean - mean);
    square += share * (cell.variance + cell.mean ** 2 - square);
  };
  mix(cells.get(cellOfCap(cap)));
  if (input !== undefined) mix(cells.get(cellOfBoth(cap, input)));
  return { mean, variance: Math.max(0, square - mean ** 2) };
}

/** For a request with a cap: its cell, the smaller of mean and cap, or the usual share of the cap, by what did best. */
function predict(learned: Learned, cap: number, cell: number): number {
  const { meanError, capUseError, cellError, capUse } = learned;
  const shareIsBest =
    capUse.count > 0 && capUseError.mean < Math.min(meanError.mean, cellError.mean);
  if (shareIsBest) return cap * capUse.mean;
  return Math.min(cap, cellError.mean < meanError.mean ? cell : learned.output.mean);
}

/** What n in flight hold together over their means. The mean itself is known only as well as `weight` answers tell. */
function sharedMargin(deviation: number, inFlight: number, weight: number): number {
  return margin * deviation * Math.sqrt(inFlight + inFlight ** 2 / weight);
}

/** A predictor that learns for each key (a quota and a model), and keeps the 1,000 keys used last. */
export function createOutputPredictor(): OutputPredictor {
  const keys = new Remembered<Learned>({
    make: newLearned,
    pack: packLearned,
    unpack: (stored) => unpackLearned(stored, newLearned(), memory),
  });

  const learn = (learned: Learned, { cap, input, output }: FinishedAnswer): void => {
    const known = learned.output.count > 0;
    const { mean } = learned.output;
    const cell = blend(learned, cap, input).mean;
    const most = cap ?? Infinity;
    // An answer that its cap cut off would have been longer: it never lowers what is expected.
    const seen = output >= most ? Math.max(output, mean) : output;
    if (known) {
      observe(learned.meanError, Math.abs(Math.min(most, mean) - output), shortMemory);
      observe(learned.cellError, Math.abs(Math.min(most, cell) - output), shortMemory);
      const residual = (output >= most ? Math.max(output, cell) : output) / Math.max(1, cell);
      learned.residuals.add(residual * residualUnit);
      if (observeLevel(learned.level, residual * residualUnit, driftThreshold)) forgetMost(learned);
    }
    if (cap !== null && cap > 0) {
      if (known)
        observe(learned.capUseError, Math.abs(cap * learned.capUse.mean - output), shortMemory);
      observe(learned.capUse, Math.min(1, output / cap), shortMemory);
    }
    observe(learned.output, seen, memory);
    observeCell(learned, cellOfCap(cap), seen);
    if (input !== undefined) observeCell(learned, cellOfBoth(cap, input), seen);
  };

  return {
    keys,
    reserve: (key, inFlight, ceiling, input, held) => {
      const learned = keys.get(key);
      if (learned === undefined) return Math.max(1, Math.min(ceiling, firstGuess));
      const { output, residuals } = learned;
      const { mean, variance } = blend(learned, null, input);
      if (inFlight <= 0 && residuals.weight >= leastResiduals) {
        const alone = mean * (residuals.quantile(aloneShare) / residualUnit);
        return Math.max(1, Math.min(ceiling, Math.ceil(Math.max(mean, alone))));
      }
      // Few observations say little of how answers vary: until there are more, it is about their mean.
      const deviation = Math.sqrt(variance + mean ** 2 / output.weight);
      const together = sharedMargin(deviation, inFlight + 1, output.weight);
      const others =
        held === undefined
          ? sharedMargin(deviation, inFlight, output.weight)
          : held - inFlight * output.mean;
      const share = Math.min(margin * deviation, Math.max(0, together - others));
      return Math.max(1, Math.min(ceiling, Math.ceil(mean + share)));
    },
    expected: (key, cap, input) => {
      const learned = keys.get(key);
      if (learned === undefined) return cap;
      const cell = blend(learned, cap, input).mean;
      if (cap !== null) return Math.round(predict(learned, cap, cell));
      const cellIsBest = learned.cellError.mean < learned.meanError.mean;
      return Math.round(cellIsBest ? cell : learned.output.mean);
    },
    duration: (key) => keys.get(key)?.durationMs.mean ?? null,
    learn: (key, answer) => {
      const { output, durationMs } = answer;
      if (!(output >= 0 && output < Infinity && durationMs >= 0 && durationMs < Infinity)) return;
      const learned = keys.change(key);
      learn(learned, answer);
      observe(learned.durationMs, durationMs, shortMemory);
    },
    toJSON: () => keys.toJSON(),
    restore: (stored) => keys.restore(stored),
  };
}

function observeCell({ cells }: Learned, at: number, output: number): void {
  let cell = cells.get(at);
  if (cell === undefined) {
    cell = emptyAverage();
    cells.set(at, cell);
  }
  observe(cell, output, memory);
}

/** The answers have become others: what was learned stays a hint. */
function forgetMost({ output, capUse, cells, residuals }: Learned): void {
  discount(output, keptAtDrift);
  discount(capUse, keptAtDrift);
  for (const [, cell] of cells) discount(cell, 1);
  residuals.fade(1 / 4);
}
