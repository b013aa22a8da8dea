import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type NormalForm, normalise } from "../../src/tokens/normalise.ts";
import { fixtureTexts } from "./fixture-texts.ts";

const forms = ["NFC", "NFD", "NFKC", "NFKD"] as const satisfies NormalForm[];
/** Of many combining classes, some made of several, some of class 0, and letters that NFKD makes marks of. */
const marks = [
  ..."\u0301\u0316\u0345\u0334\u0323\u3099\u0344\u0f73\u0f71\u094d\u0903\uff9e\u{1d165}",
];

describe.each(forms)("%s equals the runtime's own", (form) => {
  test("on the fixtures", () => {
    for (const text of fixtureTexts) expect(normalise(text, form)).toBe(text.normalize(form));
  });

  test("on long runs of marks", () => {
    const run = fc.array(fc.constantFrom(...marks), { minLength: 30, maxLength: 120 });
    const text = fc.tuple(
      fc.constantFrom("", "a", "が", "x "),
      run,
      fc.constantFrom("", "b", "\u0301 c"),
    );
    fc.assert(
      fc.property(text, ([before, middle, after]) => {
        const whole = before + middle.join("") + after;
        expect(normalise(whole, form)).toBe(whole.normalize(form));
      }),
      { numRuns: 300 },
    );
  });
});
