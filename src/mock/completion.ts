import { aborted, clientGone, closedConnection, jsonAnswer } from "./answers.ts";
import type { MeteredCall } from "./call.ts";
import type { MockSettings } from "./options.ts";
import type { Plan } from "./plan.ts";
import type { Profile } from "./profile.ts";
import type { Charge } from "./quota.ts";
import { streamFrames } from "./stream.ts";
import type { CallTally } from "./tally.ts";
import { waitUntil } from "./wait.ts";

/** A call that the quota has let through. */
export interface Admitted {
  call: MeteredCall;
  plan: Plan;
  tally: CallTally;
  charge: Charge;
  id: string;
  startedAt: number;
}

/** How a call is counted while it runs and when it ends: once, by whatever way. */
interface Settlement {
  produced: (outputTokens: number) => void;
  settle: (how: "done" | "aborted", outputTokens: number) => void;
  /** A call that failed costs its request, and tokens only where the provider never revises them. */
  settleFailed: () => void;
}

/**
 * Runs an admitted call to its answer as its plan says, and settles it when the answer has ended or the client
 * has gone. The answer has none of the headers about limits yet.
 */
export async function complete(
  admitted: Admitted,
  settings: MockSettings,
  profile: Profile,
  signal: AbortSignal,
): Promise<Response> {
  const { clock } = settings;
  const { call, plan, tally, id, startedAt } = admitted;
  const { produced, settle, settleFailed } = settlement(admitted, settings);

  if (plan.latencyMs > 0) await waitUntil(clock, startedAt + plan.latencyMs, signal);
  if (signal.aborted) {
    const share = plan.latencyMs > 0 ? (clock.now() - startedAt) / plan.latencyMs : 1;
    settle("aborted", Math.floor(plan.outputTokens * Math.min(1, share)));
    return clientGone();
  }
  if (plan.fate === "reset") {
    // The work was done, and the client learns nothing of it.
    tally.outcome("reset");
    settle("done", plan.outputTokens);
    return closedConnection();
  }
  if (plan.fate === "stall") {
    tally.outcome("stalled");
    await aborted(signal);
    settle("aborted", 0);
    return clientGone();
  }

  const answer = (response: Response): Response => {
    tally.status(response.status);
    return response;
  };
  const status = plan.status ?? 200;
  if (status >= 400) {
    tally.outcome("failed");
    settleFailed();
    return answer(profile.error(status, "Injected by the simulator.", id));
  }
  if (call.kind === "fixed") {
    settle("done", 0);
    return answer(jsonAnswer(call.body, status));
  }
  if (!call.frames) {
    settle("done", plan.outputTokens);
    return answer(jsonAnswer(call.body(plan.outputTokens), status));
  }
  const isCut = plan.fate === "cut";
  if (isCut) tally.outcome("cut");
  const body = streamFrames(
    call.frames(plan.outputTokens),
    settings.chunkIntervalMs,
    clock,
    signal,
    { produced, ended: settle },
    isCut ? Math.floor(plan.outputTokens / 2) : null,
  );
  const headers = { "content-type": "text/event-stream", "cache-control": "no-cache" };
  return answer(new Response(body, { status, headers }));
}

function settlement({ plan, tally, charge }: Admitted, { clock }: MockSettings): Settlement {
  let producedTokens = 0;
  const produced = (outputTokens: number): void => {
    const more = outputTokens - producedTokens;
    if (more <= 0) return;
    producedTokens = outputTokens;
    charge.add("output_tokens", more, clock.now());
    tally.produced(more, clock.now());
  };
  return {
    produced,
    settle(how, outputTokens) {
      const cost = plan.finalCost(outputTokens);
      if (!tally.end(how, plan.promptTokens + outputTokens, cost, clock.now())) return;
      produced(outputTokens);
      charge.revise(cost, clock.now());
    },
    settleFailed() {
      if (tally.end("done", 0, plan.failedCost, clock.now()))
        charge.revise(plan.failedCost, clock.now());
    },
  };
}
