import type { Config } from "./schema.ts";

/** Keys that are read and checked, and that this version does nothing with yet. */
const rows: readonly { key: string; isSet: (config: Config) => boolean }[] = [
  { key: "inference.workers", isSet: ({ inference }) => inference.workers.length > 0 },
];

/** A sentence for each key that is set and has no effect in this version. */
export function warnOfUnavailable(config: Config): string[] {
  return rows
    .filter(({ isSet }) => isSet(config))
    .map(({ key }) => `${key} is set, and has no effect in this version yet`);
}
