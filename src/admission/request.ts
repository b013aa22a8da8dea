import type { ErrorCode } from "../errors.ts";
import type { Cost } from "../limit/cost.ts";
import type { Priority } from "../queue/lane.ts";
import type { Path } from "./path.ts";

/** What a request asks of admission. */
export interface AdmissionRequest {
  /** Changed under it by `Scheduler.replan` alone. */
  path: Path;
  /** What it needs room in by the configuration in force now; absent where that does not change. */
  repath?(): Path;
  readonly cost: Readonly<Cost>;
  /**
   * Asked of one that waits before it is looked at: prices it by what has been learned meanwhile, which changes `cost`
   * and `outlook`, never to more than could ever go. Absent where the price stands.
   * @returns whether it has changed
   */
  readonly reprice?: () => boolean;
  /** How it is expected to end: milliseconds from its start, and the final cost. Null where nothing is known. */
  readonly outlook: { durationMs: number; cost: Readonly<Cost> } | null;
  readonly priority: Priority;
  /** Whom it counts for in fairness, and with what weight (1 is normal). */
  readonly client: string;
  readonly weight: number;
  /** Longest wait that the caller puts up with, ms from now; the accounts' own limits hold as well. */
  readonly patienceMs: number;
  /**
   * For a request that the upstream has turned away: it goes before all others, whatever the queue's depth, until
   * `deadlineAt` (ms since the epoch), which takes the place of `patienceMs`. Null the first time.
   */
  readonly again: { readonly deadlineAt: number } | null;
  /** Bytes of body that it holds while it waits. */
  readonly bodyBytes: number;
  /** Its body is still arriving and will be passed on as it comes. */
  readonly uploading: boolean;
  readonly signal: AbortSignal | null;
}

/** Why a request will not go, and what the client can do about it. A value, not an exception: nothing is broken. */
export interface Refusal {
  readonly refused: ErrorCode;
  readonly message: string;
  /** Milliseconds until a retry makes sense; null where it never does. */
  readonly retryAfterMs: number | null;
}
