import { anthropic } from "./anthropic.ts";
import { cerebras } from "./cerebras.ts";
import { groq } from "./groq.ts";
import { openai } from "./openai.ts";
import { plain } from "./plain.ts";
import type { Profile } from "./profile.ts";

/** Every provider that can be simulated, by the name that `--profile` takes. */
export const profiles = { cerebras, openai, anthropic, groq, plain } satisfies Record<
  string,
  Profile
>;

export type ProfileName = keyof typeof profiles;

/** Whether there is a profile of this name. */
export function isProfileName(name: string): name is ProfileName {
  return Object.hasOwn(profiles, name);
}
