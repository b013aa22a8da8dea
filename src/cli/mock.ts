import { Command, CommanderError, Option } from "commander";
import { UsageError } from "../errors.ts";
import { parseDuration } from "../mock/duration.ts";
import type { LimitName } from "../mock/limit.ts";
import { mockDefaults } from "../mock/options.ts";
import type { MockOptions } from "../mock/options.ts";
import { profiles } from "../mock/profiles.ts";
import { startMock } from "../mock/server.ts";
import type { Io } from "./io.ts";

const examples = `
Numbers of limits are per window and shared by all callers. A limit that is not given is the profile's own;
0 means none:
${describeLimits()}
Durations: 500ms, 30s, 10m, 1h30m, or a number of seconds.

A request can decide about itself by header: X-Mock-Prompt-Tokens, X-Mock-Cached-Tokens,
X-Mock-Output-Tokens, X-Mock-Latency (a duration), X-Mock-Status; X-Mock-Tag names it in the log.

Routes of the simulator itself:
  GET    /__mock/stats    counts, peak use of each window, admitted requests by the second
                          (?log=1: also the last 10,000 requests as [time, status, what became of it, tag])
  GET    /__mock/log      when each request was counted and at how many tokens (?limit=N, newest)
  PATCH  /__mock/limits   changes limits while it runs: {"rpm": 60}
  POST   /__mock/faults   scripts coming requests: {"next": 5, "status": 429, "retry_after": "2",
                          "headers": {…}, "body": …}, {"for": "10s", "status": 503}, {"kind": "reset"}
                          (or stall, cut), {"headers": {…}} alone: over the ordinary answer's
  GET, DELETE /__mock/faults   what is still to come; forget it
  POST   /__mock/reset    clears the counts and the faults and fills the quota up

Examples:
  $ cooldown mock --rpm 120 --tpm 100000
      a Cerebras account of 120 requests and 100,000 tokens a minute on port ${mockDefaults.port}
  $ cooldown mock --rpm 120 --algorithm sliding_window --latency 225ms --jitter 175ms --count-at random
      counts each request at a random moment within its 50-400 ms
  $ cooldown mock --tpm 60000 --output-fraction 0.25
      answers with a quarter of the max_completion_tokens that it reserved
  $ cooldown mock --profile openai --tpm 30000 --external-load 20%
      an OpenAI project of which someone else uses a fifth
  $ cooldown mock --profile anthropic --error-rate 0.05 --error-status 529 --cut-rate 0.01
      an overloaded provider that also cuts a stream now and then
  $ cooldown mock --profile plain --rps 10 --algorithm token_bucket --burst 1 --port 0
      any HTTP API that takes a request each 100 ms
`;

/**
 * The command `cooldown mock`: runs a provider simulator until a signal. A parse error throws UsageError;
 * `--help` throws commander's CommanderError with exit code 0, after the help was written.
 */
export function mockCommand(io: Io): Command {
  const command = new Command("mock")
    .description("run a provider simulator that enforces real quotas, for demos and tests")
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: () => {} })
    .exitOverride((error) => {
      if (error.exitCode === 0) throw error;
      const message = error.message.replace(/^error: /, "");
      throw new UsageError(`cooldown mock: ${message}\nSee "cooldown mock --help".`);
    })
    .allowExcessArguments(false)
    .addHelpText("after", examples);

  for (const option of options()) command.addOption(option);
  return command.action((values: MockOptions) => run(values, io));
}

/**
 * Runs `cooldown mock` with `args` (those after the command's name); resolves when a signal has stopped it.
 *
 * @throws UsageError for wrong arguments, OperationError when the address cannot be listened on.
 */
export async function mock(args: readonly string[], io: Io): Promise<void> {
  try {
    await mockCommand(io).parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error;
  }
}

async function run(options: MockOptions, io: Io): Promise<void> {
  const provider = startMock(options);
  const profile = options.profile ?? mockDefaults.profile;
  io.out(
    `Simulated provider (${profile}) listening on ${provider.url}, counts at ${provider.url}/__mock/stats\n`,
  );
  await new Promise<void>((resolve) => io.onSignal(resolve));
  await provider.stop();
}

/** In the order of `--help`. An option's attribute name is its name in MockOptions. */
function options(): Option[] {
  const { latencyMs, jitterMs, chunkIntervalMs, windowMs, tokensPerChunk } = mockDefaults;
  return [
    new Option("--profile <name>", "provider to act as")
      .choices(Object.keys(profiles))
      .default("cerebras"),
    text("--host <address>", "address to listen on", mockDefaults.host),
    number("--port <port>", "port to listen on, 0 for a free one", mockDefaults.port),
    limit("rps", "requests a second"),
    limit("rpm", "requests a minute"),
    limit("rph", "requests an hour"),
    limit("rpd", "requests a day"),
    limit("tpm", "tokens a minute"),
    limit("tph", "tokens an hour"),
    limit("tpd", "tokens a day"),
    limit("input_tpm", "input tokens a minute"),
    limit("output_tpm", "output tokens a minute, counted as they are produced"),
    limit("total_tpm", "tokens a minute, cached input included (cerebras: three times --tpm)"),
    new Option(
      "--settling <what>",
      "what a call stays counted at: its actual use, or what was reserved (default: the profile's)",
    ).choices(["actual", "reserved"]),
    new Option(
      "--algorithm <name>",
      "token_bucket refills continuously; sliding_window allows the limit in any window (default: the profile's)",
    ).choices(["token_bucket", "sliding_window"]),
    number(
      "--burst <requests>",
      "most requests a token_bucket lets through at once (default: the limit)",
    ),
    duration(
      "--latency <duration>",
      "until the answer, or a stream's first byte",
      latencyMs,
      "latencyMs",
    ),
    duration(
      "--jitter <duration>",
      "latency varies evenly by up to this, both ways",
      jitterMs,
      "jitterMs",
    ),
    new Option(
      "--count-at <moment>",
      "count a request on arrival, or at a random moment within its latency",
    )
      .choices(["arrival", "random"])
      .default(mockDefaults.countAt),
    number("--output-mean <tokens>", "mean length of an answer", mockDefaults.outputMean),
    attribute(
      number(
        "--output-sd <tokens>",
        "standard deviation of it (log-normal)",
        mockDefaults.outputDeviation,
      ),
      "outputDeviation",
    ),
    number(
      "--output-fraction <share>",
      "answer with this share (0 to 1) of the request's max_completion_tokens instead, where it has one",
    ),
    attribute(
      number(
        "--assumed-output <tokens>",
        "reserved for the answer to a request without max_completion_tokens",
        mockDefaults.assumedOutputTokens,
      ),
      "assumedOutputTokens",
    ),
    number(
      "--error-rate <share>",
      "share (0 to 1) of admitted requests that fail",
      mockDefaults.errorRate,
    ),
    number("--error-status <status>", "with this HTTP status", mockDefaults.errorStatus),
    number(
      "--reset-rate <share>",
      "share of admitted requests whose connection is closed before the answer",
      mockDefaults.resetRate,
    ),
    number(
      "--stall-rate <share>",
      "share of admitted requests that are never answered",
      mockDefaults.stallRate,
    ),
    number(
      "--cut-rate <share>",
      "share of admitted requests whose stream is cut in the middle",
      mockDefaults.cutRate,
    ),
    duration(
      "--refuse-for <duration>",
      "an outage: from the first request on, all are answered with --error-status for this long",
      mockDefaults.refuseForMs,
      "refuseForMs",
    ),
    new Option(
      "--insufficient-quota",
      "an account without credit (openai, anthropic): every call is refused for good",
    ),
    new Option(
      "--external-load <amount>",
      "someone else on the same key, from the first request on: requests a minute, or a share such as 20% of the limit",
    ),
    number(
      "--external-prompt <tokens>",
      "input of each of their requests; their output is as the clients'",
      mockDefaults.externalPrompt,
    ),
    duration(
      "--chunk-interval <duration>",
      "between chunks of a stream",
      chunkIntervalMs,
      "chunkIntervalMs",
    ),
    attribute(
      number("--chunk-tokens <tokens>", "tokens a chunk", tokensPerChunk),
      "tokensPerChunk",
    ),
    new Option(
      "--stream-usage <when>",
      "whether streams tell their usage; asked: with stream_options.include_usage (default: the profile's)",
    ).choices(["always", "asked", "never"]),
    number(
      "--seed <number>",
      "the same seed draws the same latencies, lengths and errors",
      mockDefaults.seed,
    ),
    duration(
      "--window <duration>",
      "length of a minute, and of hours and days with it",
      windowMs,
      "windowMs",
    ),
  ];
}

function text(flags: string, description: string, byDefault: string): Option {
  return new Option(flags, description).default(byDefault);
}

function number(flags: string, description: string, byDefault?: number): Option {
  const option = new Option(flags, description).argParser((value) => {
    const parsed = value.trim() === "" ? NaN : Number(value);
    if (!Number.isFinite(parsed)) throw new UsageError(`${flags}: "${value}" is not a number.`);
    return parsed;
  });
  return byDefault === undefined ? option : option.default(byDefault);
}

function limit(name: LimitName, meaning: string): Option {
  return attribute(number(`--${name.replace("_", "-")} <number>`, `limit of ${meaning}`), name);
}

function duration(
  flags: string,
  description: string,
  defaultMs: number,
  name: keyof MockOptions,
): Option {
  const shown = defaultMs % 1000 === 0 ? `${defaultMs / 1000}s` : `${defaultMs}ms`;
  const option = new Option(flags, description)
    .argParser((value) => {
      try {
        return parseDuration(value);
      } catch (error) {
        throw error instanceof UsageError ? new UsageError(`${flags}: ${error.message}`) : error;
      }
    })
    .default(defaultMs, shown);
  return attribute(option, name);
}

function attribute(option: Option, name: keyof MockOptions): Option {
  option.attributeName = () => name;
  return option;
}

function describeLimits(): string {
  return Object.entries(profiles)
    .map(([profile, { limits }]) => {
      const values = Object.entries(limits).map(([name, value]) => `${name} ${value}`);
      return `  ${profile.padEnd(10)} ${values.join(", ") || "none"}`;
    })
    .join("\n");
}
