/** What became of a request. */
export type RequestKind =
  | "running"
  /** Counted by the quota, and answered or being answered. */
  | "admitted"
  /** A 429 (or 413) of the quota's own. */
  | "refused"
  /** Answered by a script (`/__mock/faults`, an outage), without asking the quota. */
  | "scripted"
  /** Counted, and failed by the error rate. */
  | "failed"
  | "reset"
  | "stalled"
  | "cut"
  /** Costs nothing: the list of models. */
  | "free"
  /** Malformed, or for an account without credit. */
  | "rejected"
  /** The client went before it was counted. */
  | "gone";

/** A request: when it arrived (ms since the Unix epoch), its status (null while there is none), what became of it, and its `X-Mock-Tag`. */
export type RequestEntry = readonly [
  at: number,
  status: number | null,
  kind: RequestKind,
  tag?: string,
];

/** A request that is being recorded. */
export interface OpenEntry {
  at: number;
  status: number | null;
  kind: RequestKind;
  tag: string | null;
}

export interface RequestLog {
  /** The entry is kept by reference: what is written into it later shows. */
  open(at: number, tag: string | null): OpenEntry;
  /** In order of arrival. */
  entries(): RequestEntry[];
}

/** Keeps the last `capacity` requests. */
export function createRequestLog(capacity = 10_000): RequestLog {
  // A ring: the oldest entry stands at `next` once it is full.
  const ring: OpenEntry[] = [];
  let next = 0;
  return {
    open(at, tag) {
      const entry: OpenEntry = { at, status: null, kind: "running", tag };
      ring[next] = entry;
      next = (next + 1) % capacity;
      return entry;
    },
    entries: () =>
      [...ring.slice(next), ...ring.slice(0, next)].map(({ at, status, kind, tag }) =>
        tag === null ? [at, status, kind] : [at, status, kind, tag],
      ),
  };
}
