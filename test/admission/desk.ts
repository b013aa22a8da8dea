import type { Lease } from "../../src/admission/lease.ts";
import { Path } from "../../src/admission/path.ts";
import type { AdmissionRequest, Refusal } from "../../src/admission/request.ts";
import { Scheduler } from "../../src/admission/scheduler.ts";
import type { Account, AccountSpec } from "../../src/ledger/account.ts";
import { MemoryLedger } from "../../src/ledger/memory.ts";
import { FakeClock, settlePromises } from "../clock.ts";
import { tokens } from "../ledger/costs.ts";

export interface Ask {
  path: Path;
  amount: number;
  /** Tells requests apart in the order in which they went. */
  name: string;
  signal: AbortSignal;
  priority: AdmissionRequest["priority"];
  client: string;
  weight: number;
  patienceMs: number;
  again: AdmissionRequest["again"];
  bodyBytes: number;
  outlook: AdmissionRequest["outlook"];
  /** What it is priced at whenever it is priced anew. */
  amountNow: () => number;
  /** What it needs by the configuration in force. */
  pathNow: () => Path;
}

/** How a request ended: not yet, or one of the three ways. */
export type Fate =
  | { state: "waiting" }
  | { state: "granted"; lease: Lease }
  | { state: "refused"; refusal: Refusal }
  | { state: "left"; reason: unknown };

/** A scheduler on a ledger in memory, on a clock that tests move, and a list of who went when. */
export class Desk {
  readonly clock = new FakeClock();
  readonly start = this.clock.now();
  readonly ledger = new MemoryLedger();
  readonly scheduler = new Scheduler(this.clock, this.ledger);
  /** Names of those that were granted, in order. */
  readonly went: string[] = [];
  /** How each ended, and how often: never more than once. */
  readonly ends = new Map<string, number>();
  readonly #paths = new Map<string, Path>();
  #count = 0;

  /** The path over these accounts, made on first use. */
  path(...specs: readonly AccountSpec[]): Path {
    const accounts: Account[] = specs.map((spec) => this.ledger.account(spec));
    const path = new Path(accounts);
    const known = this.#paths.get(path.key) ?? path;
    this.#paths.set(path.key, known);
    return known;
  }

  /** Asks for admission; what becomes of it shows in the returned object. */
  ask(path: Path, more: Partial<Ask> = {}): { fate: Fate } {
    const name = more.name ?? `#${++this.#count}`;
    const asked: { fate: Fate } = { fate: { state: "waiting" } };
    const end = (fate: Fate): void => {
      asked.fate = fate;
      this.ends.set(name, (this.ends.get(name) ?? 0) + 1);
      if (fate.state === "granted") this.went.push(name);
    };
    const done = (outcome: Lease | Refusal): void =>
      end(
        "refused" in outcome
          ? { state: "refused", refusal: outcome }
          : { state: "granted", lease: outcome },
      );
    let cost = tokens(more.amount ?? 1);
    const { amountNow, pathNow } = more;
    const reprice = (): boolean => {
      const before = cost.total_tokens;
      cost = tokens(amountNow?.() ?? before);
      return cost.total_tokens !== before;
    };
    const answer = this.scheduler.admit({
      path,
      ...(pathNow !== undefined && { repath: pathNow }),
      get cost() {
        return cost;
      },
      ...(amountNow !== undefined && { reprice }),
      outlook: more.outlook ?? null,
      priority: more.priority ?? "normal",
      client: more.client ?? "one",
      weight: more.weight ?? 1,
      patienceMs: more.patienceMs ?? Infinity,
      again: more.again ?? null,
      bodyBytes: more.bodyBytes ?? 0,
      uploading: false,
      signal: more.signal ?? null,
    });
    if (answer instanceof Promise) {
      const wait = async (): Promise<void> => {
        try {
          done(await answer);
        } catch (error) {
          end({ state: "left", reason: error });
        }
      };
      void wait();
    } else done(answer);
    return asked;
  }

  /** A request that goes at once, is counted at once, and stays open. */
  take(path: Path, more: Partial<Ask> = {}): Lease {
    const { fate } = this.ask(path, { name: `taken ${++this.#count}`, ...more });
    if (fate.state !== "granted") throw new Error("It does not go at once");
    this.went.pop();
    fate.lease.sent();
    fate.lease.arrived();
    return fate.lease;
  }

  /** Moves time on, letting promises settle. */
  async pass(ms = 0): Promise<void> {
    await this.clock.tick(ms);
    await settlePromises();
  }
}

/** The lease of a request that has been granted. */
export function leaseOf({ fate }: { fate: Fate }): Lease {
  if (fate.state !== "granted") throw new Error(`It is ${fate.state}`);
  return fate.lease;
}

/** The refusal of a request that has been refused. */
export function refusalOf({ fate }: { fate: Fate }): Refusal {
  if (fate.state !== "refused") throw new Error(`It is ${fate.state}`);
  return fate.refusal;
}
