/**
 * The long scenarios: minutes of saturated quotas against the running program, judged by what the upstream counted.
 * They are not part of `bun test`.
 *
 *   bun scripts/soak.ts            all of them, side by side: about three minutes
 *   bun scripts/soak.ts rpm crash  these
 *
 * Prints figures as they come, ends with code 1 if one is not as it must be.
 */
import { anthropic } from "./soak/anthropic.ts";
import { bucket } from "./soak/bucket.ts";
import { cerebras, rightSize } from "./soak/cerebras.ts";
import { chaos } from "./soak/chaos.ts";
import { crash } from "./soak/crash.ts";
import { anthropicShared, cerebrasShared, groqShared, openaiShared } from "./soak/external.ts";
import { fleet } from "./soak/fleet.ts";
import { groq } from "./soak/groq.ts";
import { openai } from "./soak/openai.ts";
import { hostile } from "./soak/hostile.ts";
import { reload } from "./soak/reload.ts";
import { Report } from "./soak/report.ts";
import { rpm } from "./soak/rpm.ts";
import { seconds } from "./soak/seconds.ts";
import { tpm } from "./soak/tpm.ts";

const scenarios = {
  rpm,
  tpm,
  crash,
  reload,
  bucket,
  seconds,
  chaos,
  hostile,
  cerebras,
  openai,
  anthropic,
  groq,
  "cerebras-shared": cerebrasShared,
  "openai-shared": openaiShared,
  "anthropic-shared": anthropicShared,
  "groq-shared": groqShared,
  "right-size": rightSize,
  fleet,
};

const chosen = Bun.argv.slice(2);
const unknown = chosen.filter((name) => !(name in scenarios));
if (unknown.length > 0) {
  console.error(
    `No scenario ${unknown.join(", ")}; there are ${Object.keys(scenarios).join(", ")}.`,
  );
  process.exit(2);
}

const reports = await Promise.all(
  Object.entries(scenarios)
    .filter(([name]) => chosen.length === 0 || chosen.includes(name))
    .map(async ([name, run]) => {
      const report = new Report(name);
      try {
        await run(report);
      } catch (error) {
        report.check("runs to its end", false, Bun.inspect(error));
      }
      return report;
    }),
);
const failed = reports.flatMap(({ failed }) => failed);
console.log(
  failed.length === 0 ? "\nall as it must be" : `\nNOT as it must be:\n${failed.join("\n")}`,
);
process.exit(failed.length === 0 ? 0 : 1);
