/** Texts that token counters get wrong or slow: the same ones at every run. */

/** A small seeded generator (mulberry32): numbers in [0, 1). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const fragments: readonly string[] = [
  [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"],
  [..." \t\n\r.,;:!?'\"/\\-_()[]{}<>|@#$%^&*+=~`"],
  [
    "\r\n",
    "\n\n",
    "  ",
    "    ",
    "\u00a0",
    "\u0085",
    "\u2028",
    "\u3000",
    "\ufeff",
    "\v",
    "\f",
    "\0",
    "\u200b",
  ],
  ["'s", "'T", "'re", "'VE", "'m", "'LL", "'d", "'ſ", "'r", "'l", "''s", "’s", "ſ"],
  [
    "ǅ",
    "ʰ",
    "ª",
    "ß",
    "İ",
    "K",
    "é",
    "e\u0301",
    "\u0301",
    "\u20dd",
    "A\u0300",
    "Ω",
    "ж",
    "Ж",
    "ა",
    "Ა",
  ],
  [
    "½",
    "Ⅷ",
    "٣",
    "²",
    "𝟘",
    "𐒠",
    "𐒰",
    "𞤀",
    "𞤢",
    "𑜱",
    "\u{1e030}",
    "\u{10d4a}",
    "\u{16d40}",
    "\u{323b0}",
  ],
  [
    "中",
    "文字",
    "日本語",
    "ひらがな",
    "カタカナ",
    "한국어",
    "ไทย",
    "हिन्दी",
    "العربية",
    "עברית",
    "தமிழ்",
  ],
  [
    "😀",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪",
    "\u{e0100}",
    "\ufe0f",
    "\ud800",
    "\udc00",
    "\ufffd",
    "\u{10ffff}",
    "\ue000",
  ],
  [
    "<|endoftext|>",
    "<|im_start|>",
    "<|fim_prefix|>",
    "hello",
    " world",
    "The",
    " the",
    "HTTPServer",
    "camelCase",
  ],
  [
    "function",
    "return",
    "https://",
    "://",
    "///",
    "...",
    "\n/",
    "!/\r\n/",
    "----",
    "====",
    "    \n",
    "\n    ",
    "\t\t",
  ],
  [
    "aGVsbG8gd29ybGQ",
    "0x7fffffff",
    "3.14159",
    "1e-9",
    '{"a":',
    "[1,2]",
    "</div>",
    "SELECT",
    "ÄÖÜ",
    "ŁÓDŹ",
  ],
].flat();

/** `count` texts of up to 60 fragments, one in five of them of a few kinds of characters at random. */
export function* randomTexts(count: number, seed: number): Generator<string> {
  const next = random(seed);
  const below = (n: number): number => Math.floor(next() * n);
  for (let i = 0; i < count; i++) {
    let text = "";
    const length = below(60);
    if (i % 5 === 0) {
      for (let j = 0; j < length; j++) {
        text += String.fromCodePoint(next() < 0.7 ? below(0x3000) : below(0x110000));
      }
    } else {
      // A few fragments used often make runs, where the rules of the patterns meet.
      const few = Array.from(
        { length: 1 + below(12) },
        () => fragments[below(fragments.length)] ?? "",
      );
      for (let j = 0; j < length; j++) text += few[below(few.length)] ?? "";
    }
    yield text;
  }
}

/** Units that, repeated, make the worst inputs. */
export const worstUnits: readonly string[] = [
  [
    "a",
    "A",
    "ab",
    "aB",
    "Ab",
    " ",
    "\n",
    "\r\n",
    "\t",
    " \n",
    "\n ",
    "0",
    "1a",
    "/",
    ".",
    "'",
    "'s",
    "=-",
    "\0",
  ],
  [
    "é",
    "\u0301",
    "e\u0301",
    "中",
    "ʰ",
    "ʰA",
    "\u0301A",
    "😀",
    "👩‍👩‍👧‍👦",
    "\ud800",
    "\u00a0",
    "\u3000",
    "\u3000\n",
    "\u{e0100}",
  ],
].flat();

/** Every worst unit repeated 1 to 300 times, alone and between words: short enough for a quadratic merge. */
export function* adversarialTexts(): Generator<string> {
  for (const unit of worstUnits) {
    for (const times of [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 66, 127, 128, 129, 300]) {
      const run = unit.repeat(times);
      yield run;
      yield `Hello${run}World`;
      yield `x ${run} y`;
    }
  }
}

/** Long single pieces without a pattern: letters of a few kinds at random, up to 2,000 in one word. */
export function* longWords(count: number, seed: number): Generator<string> {
  const next = random(seed);
  const alphabets = [
    "ab",
    "abcde",
    "etaoinshrdlu",
    "ETAOIN",
    "中文字符的一是不了",
    "=-_",
    "éàüöñ",
    " \t",
  ];
  for (let i = 0; i < count; i++) {
    const letters = alphabets[i % alphabets.length] ?? "";
    const length = 30 + Math.floor(next() ** 3 * 2000);
    let word = "";
    for (let j = 0; j < length; j++) word += letters[Math.floor(next() * letters.length)] ?? "";
    yield word;
  }
}
