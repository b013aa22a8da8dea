import type { Change, ShownLimit } from "../config/change.ts";
import { addChange, readChange, shownLimits, withChanges } from "../config/change.ts";
import type { Config } from "../config/schema.ts";
import type { LimitChange } from "../control/sources.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { OverrideStore } from "../storage/overrides.ts";

/** The configuration in force: the file's, with the limits that were changed while running. */
export interface Steering {
  readonly config: Config;
  /**
   * Another file takes the place of the one before. What it changes ends the changes of the same keys.
   * @param adopt puts the configuration into force; where it throws, all stays as it was
   */
  load(file: Config, adopt: (config: Config) => void): void;
  limits(): ShownLimit[];
  /** Changes a limit, at once and until the file does. @param adopt as with `load` */
  change(name: string, given: unknown, adopt: (config: Config) => void): LimitChange;
}

/**
 * @param file the configuration as it was read
 * @param store null where nothing outlives the process: then changes do not either
 */
export function createSteering(file: Config, store: OverrideStore | null, log: Log): Steering {
  const stored = (store?.all() ?? []) as Change[];
  let current = { file, ...withChanges(file, stored) };
  for (const { name, values } of current.kept)
    log.info("a limit is as it was changed while running", { limit: name, ...values });
  end(stored, current.kept);

  /** Says and stores which changes are over. */
  function end(before: readonly Change[], kept: readonly Change[]): void {
    const over = before.flatMap(({ name, values }) => {
      const left = kept.find((change) => change.name === name)?.values ?? {};
      return Object.keys(values)
        .filter((key) => !(key in left))
        .map((key) => `${name} ${key}`);
    });
    if (over.length === 0) return;
    log.info("limits are as the file says again", { limits: over.join(", ") });
    try {
      store?.replace(kept);
    } catch (error) {
      log.warn("limits that were changed while running cannot be stored", { error: String(error) });
    }
  }

  return {
    get config() {
      return current.config;
    },
    load(next, adopt) {
      const before = current.kept;
      const planned = { file: next, ...withChanges(next, before) };
      adopt(planned.config);
      current = planned;
      end(before, planned.kept);
    },
    limits: () => shownLimits(current.config, current.kept),
    change(name, given, adopt) {
      let values;
      try {
        values = readChange(current.config, name, given);
      } catch (error) {
        if (error instanceof UsageError) return { problem: error.message };
        throw error;
      }
      if (values === null) return null;
      const from = shownLimits(current.config, []).find((limit) => limit.name === name);
      const changes = addChange(current.file, current.kept, name, values);
      const planned = { file: current.file, ...withChanges(current.file, changes) };
      // First what may fail: a change that is lost at the next start would be a surprise then.
      store?.replace(planned.kept);
      adopt(planned.config);
      current = planned;
      const limit = shownLimits(current.config, current.kept).find((one) => one.name === name);
      if (limit === undefined) throw new Error("A limit that was changed is still there.");
      const told = Object.keys(values).map(
        (key) => `${key} ${String(from?.[key])} -> ${String(limit[key])}`,
      );
      log.info("limit changed", { limit: name, change: told.join(", "), stored: store !== null });
      return { limit };
    },
  };
}
