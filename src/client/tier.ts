import type { Priority } from "../queue/lane.ts";
import { priorities } from "../queue/lane.ts";

/** What the holder of a virtual key is granted. */
export interface ClientTier {
  readonly name: string;
  /** Requests a minute; null leaves the general limit in force. */
  readonly rpm: number | null;
  /** Tokens a minute; null is no such limit. */
  readonly tpm: number | null;
  readonly priority: Priority;
  /** Share of a quota beside other clients' shares. */
  readonly weight: number;
}

/**
 * The class that a request waits in: what it asks for may lower that of its client's tier, and raise it only where no
 * tier applies (contract, section 4).
 *
 * @param asked what `X-Cooldown-Priority` says; null where the request has none
 */
export function priorityWithin(tier: ClientTier | null, asked: Priority | null): Priority {
  if (tier === null) return asked ?? "normal";
  if (asked === null) return tier.priority;
  return priorities[asked] > priorities[tier.priority] ? asked : tier.priority;
}
