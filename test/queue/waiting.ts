import type { Priority, Waiting } from "../../src/queue/lane.ts";
import type { Line } from "../../src/queue/line.ts";
import type { Shares } from "../../src/queue/shares.ts";
import { tokens } from "../ledger/costs.ts";

export interface Draft {
  seq: number;
  priority?: Priority;
  client?: string;
  weight?: number;
  amount?: number;
  again?: boolean;
  arrivedAt?: number;
  timeoutMs?: number;
}

/** A request that stands nowhere yet. */
export function waiting(draft: Draft): Waiting {
  const { seq, priority = "normal", client = "one", weight = 1, amount = 100 } = draft;
  const { arrivedAt = 0, timeoutMs = 600_000 } = draft;
  return {
    seq,
    priority,
    again: draft.again ?? false,
    client,
    weight,
    cost: tokens(amount),
    arrivedAt,
    timeoutMs,
    flow: null,
    previousInLane: null,
    nextInLane: null,
    previousInFlow: null,
    nextInFlow: null,
  };
}

/** Serves `item` as a planner does: books its work, takes it out. */
export function serve(line: Line, shares: Shares, item: Waiting): void {
  const client = item.flow?.client;
  if (client === undefined) throw new Error("It does not wait");
  shares.serve(client, item.cost.total_tokens, item.weight);
  line.remove(item);
}
