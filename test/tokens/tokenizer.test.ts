import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../../src/errors.ts";
import { createTokenCounter } from "../../src/tokens/counter.ts";
import type { Prompt } from "../../src/tokens/prompt.ts";
import { answer } from "../../src/tokens/remote.ts";
import { openTokenizer, tokenizerNamed } from "../../src/tokens/tokenizer.ts";
import { tokenizerFiles } from "./tokenizer-files.ts";

const folder = mkdtempSync(join(tmpdir(), "cooldown-tokenizers-"));
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, file: object): string => {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(file));
  return path;
};
const prompt = (model: string, text: string): Prompt => ({
  model,
  messages: [],
  texts: [text],
  tokenIds: 0,
  tools: [],
});

test("a file counts for the models it is named for, in both threads, until another is named", async () => {
  const file = write("glm.json", tokenizerFiles.gpt2);
  const { count } = tokenizerNamed(openTokenizer(file));
  const matches = (model: string): boolean => model.startsWith("glm");
  const counter = createTokenCounter({ tokenizers: [{ matches, file }] });
  const text = "The ferry left at six, an hour late. ";
  const nearest = counter.count(prompt("gpt-4", text));
  expect(counter.count(prompt("glm-4.6", text))).toBe(count(text));
  expect(count(text)).not.toBe(nearest);
  const long = text.repeat(3000);
  expect(await counter.count(prompt("glm-4.6", long))).toBe(count(long));
  counter.use([]);
  expect(counter.count(prompt("glm-4.6", text))).toBe(nearest);
  counter.close();
});

test("a file that was changed is read again, and the old one forgotten", () => {
  const path = write("changing.json", tokenizerFiles.gpt2);
  const first = openTokenizer(path);
  expect(openTokenizer(path)).toBe(first);
  write("changing.json", tokenizerFiles.gemma);
  const second = openTokenizer(path);
  expect(second).not.toBe(first);
  // The other thread may ask by the old name for a while: the file of now has to do.
  expect(tokenizerNamed(first)).toBe(tokenizerNamed(second));
});

test("an error names the file, and leaves the counter as it was", () => {
  const broken = write("broken.json", { model: { type: "Unigram" } });
  expect(() => openTokenizer(broken)).toThrow(`The tokenizer ${broken} cannot be used: The model`);
  expect(() => openTokenizer(join(folder, "none.json"))).toThrow(UsageError);
  const file = write("good.json", tokenizerFiles.gpt2);
  const counter = createTokenCounter({ tokenizers: [{ matches: () => true, file }] });
  const before = counter.count(prompt("any", "The ferry"));
  expect(() => counter.use([{ matches: () => true, file: broken }])).toThrow(UsageError);
  expect(counter.count(prompt("any", "The ferry"))).toBe(before);
  counter.close();
});

test("the thread answers null for a file that is gone", () => {
  const name = `file:${"0".repeat(16)}:${join(folder, "gone.json")}` as const;
  expect(answer({ id: 7, vocabulary: name, texts: ["x"] })).toEqual({ id: 7, counts: null });
});
