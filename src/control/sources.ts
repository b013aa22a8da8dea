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
  /** All limits, in the order of the file. */
  limits(): readonly NamedLimit[];
  /**
   * Changes a limit, at once and until the file does.
   * @param given keys and values as they would stand in the file
   * @throws Error if the change cannot be stored: then nothing has changed
   */
  changeLimit(name: string, given: unknown): LimitChange;
  /** What a client has left of its own limit; null if it is not known. */
  client(id: string): object | null | Promise<object | null>;
  /** Gives a client its whole allowance; false if it is not known. */
  resetClient(id: string): boolean | Promise<boolean>;
  /** What callers from other machines must present; null: they are not let in. */
  adminToken(): string | null;
  /** CIDRs of proxies that are believed where they say whom a request comes from. */
  trustedProxies(): readonly string[];
}

/** A limit as it is shown. */
interface NamedLimit {
  readonly name: string;
}

/** The limit as it is now; what is wrong with what was asked for; or null, there is no such limit. */
export type LimitChange = { limit: NamedLimit } | { problem: string } | null;

/** Who asks. */
export interface ControlCaller {
  /** The address of the connection's other end, null where it is not known: then it is taken as remote. */
  peer: string | null;
  /** The request's id, where it has one already. */
  requestId?: string;
}
