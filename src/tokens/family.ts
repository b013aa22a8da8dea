import type { ImageCosts } from "./images.ts";
import type { TokenizerName } from "./tokenizer.ts";
import type { ToolCosts } from "./tools.ts";

/** How the input tokens of a family of models are counted. */
export interface Family {
  readonly name: string;
  /** The tokenizer that is this family's own, or nearest to it. */
  readonly vocabulary: TokenizerName;
  /** Tokens of text are the tokenizer's count times this: 1 where it is exact, or an estimator. */
  readonly ratio: number;
  /** Chat template, in tokens: for each message, the role included … */
  readonly message: number;
  /** … for a message's `name`, besides the name's text … */
  readonly named: number;
  /** … and once for the request: start of text, start of the answer. */
  readonly fixed: number;
  readonly tools: ToolCosts;
  readonly image: ImageCosts;
}

/** Costs of tools where the template writes their definitions out as JSON. */
const jsonTools = (once: number, each: number): ToolCosts => ({
  once,
  each,
  firstProperty: 0,
  property: 0,
  enumeration: 0,
  value: 0,
  text: "json",
});

/** OpenAI's rendering of tools, from its cookbook ("How to count tokens with tiktoken"): `each` differs by model. */
const openaiTools = (each: number): ToolCosts => ({
  once: 12,
  each,
  firstProperty: 3,
  property: 3,
  enumeration: -3,
  value: 3,
  text: "words",
});

const tiles = (base: number, tile: number): ImageCosts => ({ kind: "tiles", base, tile });

/**
 * OpenAI's chat template: 3 tokens a message and one for its role, and 3 that start the answer.
 * Also what is assumed of a model nobody knows.
 */
const openai: Family = {
  name: "o200k",
  vocabulary: "o200k",
  ratio: 1,
  message: 4,
  named: 1,
  fixed: 3,
  tools: openaiTools(7),
  image: tiles(85, 170),
};

const cl100k: Family = { ...openai, name: "cl100k", vocabulary: "cl100k", tools: openaiTools(10) };

/** Costs like OpenAI's, but for the vocabulary's ratio, the template and tools as JSON. */
const other = (
  name: string,
  vocabulary: TokenizerName,
  ratio: number,
  message: number,
  fixed: number,
): Family => ({
  ...openai,
  name,
  vocabulary,
  ratio,
  message,
  named: 0,
  fixed,
  tools: jsonTools(20, 10),
});

const claude: Family = {
  ...other("claude", "claude", 1, 2, 6),
  tools: {
    once: 549,
    each: 53,
    firstProperty: 0,
    property: 12,
    enumeration: 0,
    value: 0,
    text: "words",
  },
  image: { kind: "area", most: 1600 },
};

/**
 * The first row that matches a normalised name decides. Templates: from the models' published ones. Ratios:
 * measured on prose, code and JSON against the models' own tokenizers; English leads, since a learned ratio
 * moves with the traffic anyway. Qwen's vocabulary has been the same since 2.5, DeepSeek's since V3.
 */
const rows: readonly (readonly [RegExp, Family])[] = [
  [/gpt-oss/, { ...other("gpt-oss", "o200k", 1, 4, 63), tools: { ...openaiTools(13), once: 13 } }],
  [/claude/, claude],
  [/llama-?4/, other("llama4", "o200k", 1, 5, 5)],
  [/llama/, other("llama3", "llama3", 1, 5, 5)],
  [/qwen|qwq/, { ...other("qwen", "qwen3", 1, 5, 3), tools: jsonTools(82, 23) }],
  [/deepseek/, other("deepseek", "deepseek", 1, 2, 3)],
  [/gemini/, { ...other("gemini", "o200k", 1.05, 5, 4), image: { kind: "squares", tile: 258 } }],
  [/gemma/, { ...other("gemma", "o200k", 1.05, 5, 4), image: { kind: "squares", tile: 258 } }],
  [
    /mi[sx]tral|codestral|ministral|magistral|devstral|pixtral/,
    other("mistral", "o200k", 1.06, 4, 3),
  ],
  [/glm/, other("glm", "cl100k", 1, 4, 4)],
  [/^(gpt-4\.1-mini|o4-mini|gpt-5-mini)/, { ...openai, image: { kind: "patches", factor: 1.62 } }],
  [/^(gpt-4\.1-nano|gpt-5-nano)/, { ...openai, image: { kind: "patches", factor: 2.46 } }],
  [/^gpt-4o-mini/, { ...openai, image: tiles(2833, 5667) }],
  [/^(chatgpt|gpt-4o|gpt-4\.[15])/, openai],
  [/^gpt-[5-9]/, { ...openai, image: tiles(70, 140) }],
  [/^o\d/, { ...openai, image: tiles(75, 150) }],
  [/^(gpt-4|gpt-3\.?5|text-embedding|davinci|babbage|text-davinci)/, cl100k],
];

/** `openai/gpt-4o`, `models/gemini-2.5-pro`, `accounts/x/models/y`, `ft:gpt-4o:org::id` → the model itself. */
function normalise(model: string): string {
  const bare = model.slice(model.lastIndexOf("/") + 1).toLowerCase();
  return bare.startsWith("ft:") ? bare.slice(3) : bare;
}

/** Longer names are no model's; looking at all of them would cost what the client likes. */
const longestName = 200;

/** The family of a model by the name a client uses. An unknown name counts as the newest OpenAI models do. */
export function familyOf(model: string): Family {
  const name = normalise(model.slice(0, longestName));
  return rows.find(([pattern]) => pattern.test(name))?.[1] ?? openai;
}
