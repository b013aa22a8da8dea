import { Command, Option } from "commander";
import { loadConfig } from "../config/load.ts";
import { OperationError, UsageError } from "../errors.ts";
import { startMock } from "../mock/server.ts";
import type { Mock } from "../mock/server.ts";
import { createLog } from "../observe/log.ts";
import type { Stats } from "../observe/stats.ts";
import { start } from "../server/lifecycle.ts";
import { burst, countOf } from "./demo-load.ts";
import type { Answer } from "./demo-load.ts";
import { limits, summary, thousands } from "./demo-summary.ts";
import type { Run } from "./demo-summary.ts";
import { liveView, plainView } from "./demo-view.ts";
import type { View } from "./demo-view.ts";
import type { Io } from "./io.ts";
import { version } from "./version.ts";

const defaultRequests = 200;

const story = `
Starts a simulated provider that allows ${limits.rps} requests a second, a proxy before it and ${defaultRequests} requests at once, all in
this process on free ports; nothing is read, stored or sent anywhere else. It takes about ten seconds.

Ends with 0 if the provider refused nothing that came through Cooldown, else with 1.
`;

export interface DemoOptions {
  /** Whether the display may redraw itself in place. Default: where standard output is a terminal that can. */
  live?: boolean;
}

/**
 * `cooldown demo`: what a burst does to a provider's quota, without Cooldown and with it.
 *
 * Its action throws OperationError if a request that came through Cooldown was refused or failed.
 */
export function demoCommand(io: Io, { live = canRedraw() }: DemoOptions = {}): Command {
  return new Command("demo")
    .description("show a burst of requests draining at the quota, with a simulated provider")
    .addOption(
      new Option("--requests <N>", "how many requests")
        .argParser(requestsOf)
        .default(defaultRequests)
        .hideHelp(),
    )
    .addHelpText("after", story)
    .action(({ requests }: { requests: number }) =>
      demo(
        requests,
        io,
        (live ? liveView : plainView)((text) => io.out(text)),
      ),
    );
}

async function demo(count: number, io: Io, view: View): Promise<void> {
  const stopped = new AbortController();
  io.onSignal(() => stopped.abort());
  const provider = startMock({
    port: 0,
    ...limits,
    rpm: 0,
    rpd: 0,
    algorithm: "sliding_window",
    latencyMs: 40,
    jitterMs: 20,
    outputFraction: 0.25,
  });
  try {
    io.out(`A simulated provider on ${provider.url}: ${limits.rps} requests a second,\n`);
    io.out(`${thousands(limits.tpm)} tokens a minute, and 429 for everything above.\n\n`);

    io.out(`1. ${count} requests at once, straight to the provider\n`);
    const straight = runOf(await burst(provider.url, count, stopped.signal), provider);
    io.out(`  ${countOf(straight.answers, 200)} answered, ${straight.refused} × 429\n\n`);

    provider.reset();
    const held = await throughCooldown(count, provider, stopped.signal, io, view);
    io.out(`\n${summary(straight, held)}`);
    const failed = held.answers.length - countOf(held.answers, 200);
    if (held.refused > 0 || failed > 0) {
      throw new OperationError(
        `Through Cooldown the provider refused ${held.refused} requests, and ${failed} were not answered: ` +
          "that should not happen.",
      );
    }
    io.out(`\nNothing was refused. Your own quotas: config.yaml.example; then "cooldown".\n`);
  } finally {
    await provider.stop();
  }
}

/** The second run: the same burst, but with the proxy between. */
async function throughCooldown(
  count: number,
  provider: Mock,
  signal: AbortSignal,
  io: Io,
  view: View,
): Promise<Run> {
  const read = (): ReturnType<typeof loadConfig> => ({
    ...loadConfig({ path: "demo.yaml", cwd: "/", env: {}, readFile: () => configFor(provider) }),
    // There is no such file to watch.
    path: null,
  });
  const log = createLog({
    level: "error",
    format: "pretty",
    write: (text) => io.err(text),
    isTTY: false,
  });
  const proxy = await start({ loaded: read(), log, version, reread: read });
  try {
    io.out(`2. The same ${count} at once through Cooldown on ${proxy.url}\n`);
    const answers: Answer[] = [];
    const all = burst(proxy.url, count, signal, (answer) => answers.push(answer));
    await watch(all, view, async (elapsedMs) => {
      const { quotas } = (await (await fetch(`${proxy.url}/stats`)).json()) as Stats;
      return {
        elapsedMs,
        total: count,
        waiting: quotas[0]?.queue_depth ?? 0,
        answered: answers.length,
        inLastSecond: requestsASecond(provider)?.used ?? 0,
        limitPerSecond: limits.rps,
        refused: provider.stats().rejected_429,
      };
    });
    return runOf(await all, provider);
  } finally {
    await proxy.stop();
  }
}

function configFor({ url }: Mock): string {
  return `
server: { host: 127.0.0.1, port: 0, shutdown_timeout: 1s }
limiter: memory
default_upstream: https://api.cerebras.ai
quotas:
  - name: demo
    domain: api.cerebras.ai
    upstream: ${url}
    rps: ${limits.rps}
    arrival_margin: 1s  # provider, proxy and clients share one process here: it may stall for a moment
    tpm: ${limits.tpm}
    max_queue_depth: 10000
    request_timeout: 2m
`;
}

/** Shows progress until `all` has ended, and once more then. A rejection is the caller's to see. */
async function watch(
  all: Promise<unknown>,
  view: View,
  progress: (elapsedMs: number) => Promise<Parameters<View["show"]>[0]>,
): Promise<void> {
  const startedAt = performance.now();
  const ended = all.then(
    () => true,
    () => true,
  );
  for (let isOver = false; !isOver;) {
    isOver = await Promise.race([ended, Bun.sleep(view.everyMs).then(() => false)]);
    view.show(await progress(performance.now() - startedAt));
  }
}

function runOf(answers: readonly Answer[], provider: Mock): Run {
  const { rejected_429: refused, tokens_used: tokensUsed } = provider.stats();
  return { answers, refused, tokensUsed, mostInASecond: requestsASecond(provider)?.peak ?? 0 };
}

function requestsASecond(provider: Mock): { used: number; peak: number } | undefined {
  return provider
    .stats()
    .windows.find(({ unit, window }) => unit === "requests" && window === "second");
}

function requestsOf(value: string): number {
  const count = Number(value);
  if (Number.isInteger(count) && count >= 1 && count <= 200) return count;
  throw new UsageError(`--requests is ${value}: it must be a whole number from 1 to 200.`);
}

function canRedraw(): boolean {
  return process.stdout.isTTY && process.env["TERM"] !== "dumb";
}
