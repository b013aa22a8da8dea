import type { Metric, Registry } from "prom-client";

/** One series of a counter. To add to it costs an addition; everything else happens at a scrape. */
export interface Tally {
  value: number;
}

/** One series of a histogram. */
export interface Spread {
  observe(value: number): void;
}

interface Sample {
  labels: Record<string, string | number>;
  value: number;
  metricName?: string;
}

interface Description {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** Gives the series of each combination of label values, made when it is first asked for. */
type Series<T> = (first?: string, second?: string, third?: string) => T;

/**
 * A counter in `registry`. The library's own finds its series by sorting and joining labels at each call, which is
 * most of what it costs.
 */
export function createCounter(registry: Registry, about: Description): Series<Tally> {
  const known = seriesOf((): Tally => ({ value: 0 }));
  register(registry, about, "counter", () =>
    known.all().map(([labels, { value }]) => ({ labels: labelled(about, labels), value })),
  );
  return known.get;
}

/** A histogram in `registry`. @param buckets upper bounds, ascending */
export function createHistogram(
  registry: Registry,
  about: Description,
  buckets: readonly number[],
): Series<Spread> {
  const known = seriesOf(() => new Buckets(buckets));
  register(registry, about, "histogram", () =>
    known.all().flatMap(([labels, series]) => series.samples(about.name, labelled(about, labels))),
  );
  return known.get;
}

class Buckets implements Spread {
  readonly #bounds: Float64Array;
  /** How many values fell into each bucket and into none below it; the last is beyond all bounds. */
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = Float64Array.from(bounds);
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] ?? 0)) i++;
    this.#counts[i] = (this.#counts[i] ?? 0) + 1;
    this.#sum += value;
  }

  samples(name: string, labels: Sample["labels"]): Sample[] {
    let count = 0;
    const samples = Array.from(this.#counts, (inBucket, i): Sample => {
      count += inBucket;
      const le = this.#bounds[i] ?? "+Inf";
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count };
    });
    return [
      ...samples,
      { metricName: `${name}_sum`, labels, value: this.#sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  }
}

/** Series by their labels, one label after the other: to join them for a single look would cost more than all looks. */
function seriesOf<T>(make: () => T): { get: Series<T>; all(): [string[], T][] } {
  const known = new Map<string, Map<string, Map<string, T>>>();
  const get: Series<T> = (first = "", second = "", third = "") => {
    const seconds = getOrMake(known, first, newMap<Map<string, T>>);
    const thirds = getOrMake(seconds, second, newMap<T>);
    return getOrMake(thirds, third, make);
  };
  const all = (): [string[], T][] =>
    [...known].flatMap(([first, seconds]) =>
      [...seconds].flatMap(([second, thirds]) =>
        [...thirds].map(([third, series]): [string[], T] => [[first, second, third], series]),
      ),
    );
  return { get, all };
}

function newMap<V>(): Map<string, V> {
  return new Map();
}

function getOrMake<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function labelled({ labelNames }: Description, labels: readonly string[]): Sample["labels"] {
  return Object.fromEntries(labelNames.map((name, i) => [name, labels[i] ?? ""]));
}

/** A registry asks what it holds for nothing but this. */
function register(
  registry: Registry,
  { name, help }: Description,
  type: "counter" | "histogram",
  values: () => Sample[],
): void {
  const metric = {
    name,
    help,
    type,
    aggregator: "sum",
    get: () => Promise.resolve({ name, help, type, aggregator: "sum", values: values() }),
    reset: () => undefined,
  };
  registry.registerMetric(metric as unknown as Metric);
}
