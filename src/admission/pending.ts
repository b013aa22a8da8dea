import type { Dated } from "../queue/deadlines.ts";
import type { Line } from "../queue/line.ts";
import type { Waiting } from "../queue/lane.ts";
import type { Lease } from "./lease.ts";
import type { AdmissionRequest, Refusal } from "./request.ts";

/** A request that waits for admission. */
export interface Pending extends Waiting, Dated<Pending> {
  readonly request: AdmissionRequest;
  line: Line;
  /** Ends the wait; called once, when the request stands in no queue any more. */
  readonly end: (outcome: Lease | Refusal) => void;
}
