import { samples } from "./samples.ts";
import { longWords, randomTexts, worstUnits } from "./texts.ts";

/** The texts whose counts by the reference tokenizers are in `counts.json`, in the same order: about 500. */
export const fixtureTexts: readonly string[] = [
  ...samples.map(([, text]) => text),
  ...worstUnits.flatMap((unit) => [
    unit.repeat(3),
    `Hello${unit.repeat(17)}World`,
    `x ${unit.repeat(129)} y`,
  ]),
  ...longWords(40, 5),
  ...randomTexts(300, 77),
];
