/** Counting what a request asks a model to read. */
import { type Clock, systemClock } from "../clock.ts";
import { BoundedMap } from "./bounded-map.ts";
import { type Family, familyOf } from "./family.ts";
import { imageTokens } from "./images.ts";
import type { Prompt, PromptMessage } from "./prompt.ts";
import { createRemoteCounter, type RemoteCounter } from "./remote.ts";
import { partLength, sampleTokens, split } from "./split.ts";
import { openTokenizer, tokenizerNamed, type TokenizerName } from "./tokenizer.ts";
import { toolTokens } from "./tools.ts";
import { createTurns } from "./turns.ts";

/** Text not seen before is counted at once up to this length in UTF-16 units, half of it where not ASCII. */
const mostAtOnce = 16_384;
/** Text is looked up at once, by its hash, up to this length in all: about 1 ms, were it all not ASCII. */
const mostLookedUp = 262_144;
/** Shorter texts are counted again rather than kept: that takes no longer than their hash. */
const leastKept = 128;
const kept = 65_536;
const mostFamilies = 1000;
/** Questions of one prompt that wait for the thread at a time. */
const mostAsked = 16;
/** Texts in one question. */
const mostTexts = 256;
/** What a text costs besides its length, in UTF-16 units of work: a million empty messages are work, too. */
const perText = 32;
/** Tool definitions up to this length in all are taken apart at once; the rest is counted as JSON text. */
const mostToolText = 65_536;
/** Estimating goes on for this much text, in UTF-16 units, in one turn of the event loop. */
const estimatedAtOnce = 16_384;

export interface TokenCounter {
  /**
   * Input tokens of a prompt, as near as is known here: text, chat template, tools, images. A number where
   * that takes under 5 ms, which it does for all but long texts that were not seen before; a promise
   * otherwise, which never rejects, and during which the event loop goes on. It is an estimate where the model's own
   * vocabulary is not here (`ratio.ts` learns the rest), and where a thread for long texts is saturated or dead.
   */
  count(prompt: Prompt): number | Promise<number>;
  /**
   * Loads the vocabulary (30 ms at once) and runs the counter until the runtime has compiled it (50 ms more, with
   * turns of the event loop between), so that no request waits for that. Never rejects.
   */
  warmUp(): Promise<void>;
  /**
   * From now on counts models by these files instead of those named before, by the first that matches. Reads them
   * at once, 0.1 to 1 s each, which is for starting and reloading.
   *
   * @throws UsageError where one cannot be used; everything stays as it was.
   */
  use(tokenizers: readonly TokenizerFile[]): void;
  /** Ends the thread. Prompts being counted are estimated. */
  close(): void;
}

/** A Hugging Face `tokenizer.json` for the models whose name, as clients write it, `matches`. */
export interface TokenizerFile {
  readonly matches: (model: string) => boolean;
  readonly file: string;
}

export interface TokenCounterOptions {
  readonly clock?: Clock;
  /** Where long texts are counted; by default a thread, started with the first of them. */
  readonly remote?: RemoteCounter;
  readonly tokenizers?: readonly TokenizerFile[];
}

/** A part of a text, and its key in the cache: null where it is too short to be kept. */
interface Part {
  readonly text: string;
  readonly key: bigint | null;
}

/**
 * Creates the counter of a process. Its cache holds 65,536 counts, a few megabytes.
 *
 * @throws UsageError where one of the options' `tokenizers` cannot be used.
 */
export function createTokenCounter(options: TokenCounterOptions = {}): TokenCounter {
  const remote = options.remote ?? createRemoteCounter(options.clock ?? systemClock());
  const nextTurn = createTurns();
  const counts = new BoundedMap<bigint, number>(kept);
  // Random, so that nobody can prepare texts of one hash; and of each kind of count its own.
  const seed = crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n;
  const seeds = new Map<TokenizerName, bigint>();
  const seedOf = (vocabulary: TokenizerName): bigint => {
    let own = seeds.get(vocabulary);
    if (own === undefined) {
      own = Bun.hash.wyhash(vocabulary, seed);
      seeds.set(vocabulary, own);
    }
    return own;
  };

  let families = new BoundedMap<string, Family>(mostFamilies);
  let files: readonly { matches: (model: string) => boolean; name: TokenizerName }[] = [];
  const use = (tokenizers: readonly TokenizerFile[]): void => {
    files = tokenizers.map(({ matches, file }) => ({ matches, name: openTokenizer(file) }));
    families = new BoundedMap(mostFamilies);
  };
  use(options.tokenizers ?? []);

  const familyFor = (model: string): Family => {
    let family = families.get(model);
    if (family === undefined) {
      family = familyOf(model);
      const file = files.find(({ matches }) => matches(model));
      if (file !== undefined)
        family = { ...family, name: file.name, vocabulary: file.name, ratio: 1 };
      if (model.length <= 200) families.set(model, family);
    }
    return family;
  };

  const part = (text: string, vocabulary: TokenizerName): Part => ({
    text,
    key: text.length < leastKept ? null : Bun.hash.wyhash(text, seedOf(vocabulary)),
  });

  function* partsOf(texts: Iterable<string>, vocabulary: TokenizerName): Generator<Part> {
    const { classes } = tokenizerNamed(vocabulary);
    for (const text of texts)
      for (const piece of split(text, classes)) yield part(piece, vocabulary);
  }

  const keep = ({ key }: Part, tokens: number): number => {
    if (key !== null) counts.set(key, tokens);
    return tokens;
  };

  const estimate = async (parts: readonly Part[], vocabulary: TokenizerName): Promise<number> => {
    const count = tokenizerNamed(vocabulary).count;
    let tokens = 0;
    let budget = 0;
    for (const { text } of parts) {
      for (let at = 0; at < text.length; at += estimatedAtOnce) {
        const slice = text.slice(at, at + estimatedAtOnce);
        if (budget < slice.length) {
          await nextTurn();
          budget = estimatedAtOnce;
        }
        budget -= slice.length;
        tokens += sampleTokens(slice, count);
      }
    }
    return tokens;
  };

  const ask = async (parts: readonly Part[], vocabulary: TokenizerName): Promise<number> => {
    const answer = await remote.count(
      vocabulary,
      parts.map(({ text }) => text),
    );
    if (answer === null) return estimate(parts, vocabulary);
    return parts.reduce((sum, asked, i) => sum + keep(asked, answer[i] ?? 0), 0);
  };

  /** Counts parts with turns between: a question to the thread for each 64 K, a few of them open at a time. */
  const countAway = async (parts: Iterable<Part>, vocabulary: TokenizerName): Promise<number> => {
    const asked: Promise<number>[] = [];
    let tokens = 0;
    let batch: Part[] = [];
    let batched = 0;
    let seen = 0;
    const send = async (): Promise<void> => {
      const count = remote.available() ? ask : estimate;
      if (batch.length > 0) asked.push(count(batch, vocabulary));
      batch = [];
      batched = 0;
      if (asked.length >= mostAsked) tokens += (await asked.shift()) ?? 0;
    };
    for (const next of parts) {
      seen += next.text.length + perText;
      const known = next.key === null ? undefined : counts.get(next.key);
      if (known !== undefined) {
        tokens += known;
      } else {
        if (batched + next.text.length > partLength || batch.length >= mostTexts) await send();
        batch.push(next);
        batched += next.text.length;
      }
      if (seen >= partLength) {
        seen = 0;
        await nextTurn();
      }
    }
    await send();
    for (const answer of asked) tokens += await answer;
    return tokens;
  };

  const countTexts = (
    texts: readonly string[],
    vocabulary: TokenizerName,
  ): number | Promise<number> => {
    const length = texts.reduce((sum, text) => sum + text.length + perText, 0);
    if (length > mostLookedUp) return countAway(partsOf(texts, vocabulary), vocabulary);
    let tokens = 0;
    let work = 0;
    const unknown: Part[] = [];
    for (const next of partsOf(texts, vocabulary)) {
      const known = next.key === null ? undefined : counts.get(next.key);
      if (known !== undefined) {
        tokens += known;
        continue;
      }
      unknown.push(next);
      const ascii = Buffer.byteLength(next.text) === next.text.length;
      work += ascii ? next.text.length : next.text.length * 2;
    }
    if (work > mostAtOnce) return countAway(unknown, vocabulary).then((away) => tokens + away);
    const count = tokenizerNamed(vocabulary).count;
    for (const next of unknown) tokens += keep(next, count(next.text));
    return tokens;
  };

  /** Tools come again with every request of an agent: what each costs is kept like a text's count. */
  const countTool = (json: string, family: Family): number => {
    const key = Bun.hash.wyhash(`${family.name}\0${json}`, seed ^ 2n);
    return (
      counts.get(key) ??
      keep(
        { text: json, key },
        toolTokens(family.tools, json, tokenizerNamed(family.vocabulary).count),
      )
    );
  };

  return {
    count: (prompt) => {
      const family = familyFor(prompt.model);
      const texts: string[] = [...prompt.texts];
      let overhead = prompt.tokenIds + (prompt.messages.length > 0 ? family.fixed : 0);
      for (const message of prompt.messages) {
        texts.push(...textsOf(message));
        overhead += family.message;
        if (message.name !== null) overhead += family.named;
        for (const image of message.images) overhead += imageTokens(family.image, image);
      }
      if (prompt.tools.length > 0) overhead += family.tools.once;
      let toolText = 0;
      for (const tool of prompt.tools) {
        toolText += tool.length;
        if (toolText > mostToolText) texts.push(tool);
        else overhead += countTool(tool, family);
      }
      const total = (tokens: number): number => Math.ceil(tokens * family.ratio) + overhead;
      const tokens = countTexts(texts, family.vocabulary);
      return typeof tokens === "number" ? total(tokens) : tokens.then(total);
    },
    warmUp: async () => {
      const count = tokenizerNamed("o200k").count;
      for (let i = 0; i < warmUpRounds; i++) {
        await nextTurn();
        count(`${warmUpText} ${i}`);
        for (const word of warmUpWords) count(word);
      }
    },
    use,
    close: () => remote.close(),
  };
}

/**
 * What of a message is text, joined as templates do: parts follow one another without a separator. Long ones
 * are left apart: a token at the joint is not worth copying megabytes.
 */
function textsOf(message: PromptMessage): readonly string[] {
  const length = message.text.reduce((sum, text) => sum + text.length, 0);
  const texts = length <= partLength ? [message.text.join("")] : [...message.text];
  if (message.name !== null) texts.push(message.name);
  return texts;
}

const warmUpRounds = 20;

/** A little of everything that takes a way of its own through the code … */
const warmUpText =
  'Hello, it\'s a TEST of 12345 words:\n\n  über 中文，日本語 😀 e\u0301 {"key": [1.5, null]}\r\n'.repeat(
    8,
  );

/** … and long pieces, of no pattern and of only one: the most work there is, of either kind. */
const warmUpWords = [
  Array.from({ length: 1000 }, (_, i) => String.fromCharCode(0x4e00 + ((i * 7919) % 20_000))).join(
    "",
  ),
  "a".repeat(2000),
];
