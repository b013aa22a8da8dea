import type { Clock } from "../clock.ts";
import type { Stats } from "../observe/stats.ts";

/** What the control routes show. Asked at each request, so that a reload is seen without being told. */
export interface ControlSources {
  readonly version: string;
  /** When the process started to serve, milliseconds since the Unix epoch. */
  readonly startedAt: number;
  readonly clock: Clock;
  /** Whether new requests are served: false while draining or while the store is down. */
  ready(): boolean;
  stats(): Stats;
  /** Forgets all answers that are kept; gives how many there were. */
  clearCache(): number;
  readonly metrics: { text(): Promise<string>; readonly contentType: string };
  /** What callers from other machines must present; null: they are not let in. */
  adminToken(): string | null;
}

/** Who asks. */
export interface ControlCaller {
  /** The address of the connection's other end, null where it is not known: then it is taken as remote. */
  peer: string | null;
  /** The request's id, where it has one already. */
  requestId?: string;
}
