import { Concurrency } from "./concurrency.ts";
import { Gcra } from "./gcra.ts";
import type { Limit, LimitSpec } from "./limit.ts";
import { SlidingWindow } from "./sliding-window.ts";
import { TokenBucket } from "./token-bucket.ts";

/** The one table of limit algorithms: a further one is a file, a kind in `LimitSpec` and a row here. */
const algorithms = {
  sliding_window: (spec) => new SlidingWindow(spec),
  token_bucket: (spec) => new TokenBucket(spec),
  leaky_bucket: (spec) => new Gcra(spec),
  concurrency: (spec) => new Concurrency(spec),
} satisfies { [K in LimitSpec["kind"]]: (spec: LimitSpec & { kind: K }) => Limit };

/** Makes an empty limit of the spec's kind. */
export function createLimit(spec: LimitSpec): Limit {
  const create = algorithms[spec.kind] as (spec: LimitSpec) => Limit;
  return create(spec);
}

/** The key that a limit of this spec has among those of its quota: a changed number keeps it. */
export function limitKey(spec: LimitSpec): string {
  switch (spec.kind) {
    case "leaky_bucket":
      return "leaky_bucket requests";
    case "concurrency":
      return "concurrency";
    default:
      return `${spec.kind} ${spec.unit}/${spec.window}`;
  }
}
