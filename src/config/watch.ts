import { createHash } from "node:crypto";
import { lstatSync, readFileSync, readlinkSync, watch as watchDirectory } from "node:fs";
import { basename, dirname, join, parse, resolve, sep } from "node:path";
import type { Clock } from "../clock.ts";

/**
 * Watches one directory: `onEvent` after something in it changed, with its name where that is known, `onLost`
 * when watching has ended by itself. Throws where the directory cannot be watched.
 */
export type Watch = (
  directory: string,
  onEvent: (name: string | null) => void,
  onLost: () => void,
) => { close(): void };

export interface WatchOptions {
  clock: Clock;
  watch?: Watch;
}

/** Editors write, rename and change modes in one go: what comes within this time is one change. */
const settleMs = 100;

/** A file that changes all the time is looked at this often nevertheless. */
const longestSettleMs = 1_000;

/** How long to wait before looking again for a directory that cannot be watched. */
const retryMs = 1_000;

/** A path with more links than this goes in circles (as `ELOOP` in Linux). */
const mostLinks = 40;

/**
 * Calls `onChange` after the content of the file at `path` has changed, some 100 ms after the last change.
 *
 * What is watched is not the file but the directories on its way: editors replace a file by renaming another
 * over it, and Kubernetes swaps a symbolic link above it. A file that is away for a moment, or unreadable, is
 * no change; one that comes back with the same content neither. Never throws.
 *
 * @param path absolute
 */
export function watchConfig(
  path: string,
  onChange: () => void,
  options: WatchOptions,
): { close(): void } {
  const { clock, watch = watchWithFs } = options;
  let watchers: { close(): void }[] = [];
  let known = contentHash(path);
  let cancelTimer: (() => void) | null = null;
  let firstEventAt: number | null = null;
  let closed = false;

  const lookAt = (time: number): void => {
    if (closed) return;
    cancelTimer?.();
    cancelTimer = clock.at(time, look);
  };
  const settle = (): void => {
    firstEventAt ??= clock.now();
    lookAt(Math.min(clock.now() + settleMs, firstEventAt + longestSettleMs));
  };
  const retry = (): void => lookAt(clock.now() + retryMs);

  /** Watches afresh, since the same name may be another directory by now; false where one is missing. */
  const rewatch = (): boolean => {
    // Before the new are opened: the runtime lets watchers of one path share what the first was opened on. What
    // changes between is not missed, for the content is read after this.
    for (const watcher of watchers) watcher.close();
    watchers = [];
    let complete = true;
    for (const [directory, names] of waypoints(path)) {
      const onEvent = (name: string | null): void => {
        // Other files there, such as a database's, are no reason to read this one. The directory's own name
        // says that it was moved or removed.
        if (name === null || names.has(name) || name === basename(directory)) settle();
      };
      try {
        watchers.push(watch(directory, onEvent, retry));
      } catch {
        complete = false;
      }
    }
    return complete;
  };

  const look = (): void => {
    cancelTimer = null;
    firstEventAt = null;
    const complete = rewatch();
    const now = contentHash(path);
    const changed = now !== null && now !== known;
    if (changed) known = now;
    if (!complete || now === null) retry();
    if (changed) onChange();
  };

  if (!rewatch()) retry();
  return {
    close: () => {
      closed = true;
      cancelTimer?.();
      for (const watcher of watchers) watcher.close();
      watchers = [];
    },
  };
}

function contentHash(path: string): string | null {
  try {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
  } catch {
    return null;
  }
}

/**
 * The directories in which a change can make `path` another file, each with the names that matter there: the
 * file itself, and every symbolic link met on the way to it and to what those point to.
 */
function waypoints(path: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const add = (directory: string, name: string): void => {
    found.set(directory, (found.get(directory) ?? new Set()).add(name));
  };
  add(dirname(path), basename(path));
  let { root: at } = parse(path);
  let rest = namesIn(path);
  let links = 0;
  while (rest.length > 0 && links < mostLinks) {
    const [name = "", ...further] = rest;
    const here = join(at, name);
    const target = linkTarget(here);
    if (target === null) {
      [at, rest] = [here, further];
    } else {
      links += 1;
      add(at, name);
      const next = resolve(at, target);
      [at, rest] = [parse(next).root, [...namesIn(next), ...further]];
    }
  }
  add(dirname(at), basename(at));
  return found;
}

function namesIn(path: string): string[] {
  return path
    .slice(parse(path).root.length)
    .split(sep)
    .filter((name) => name !== "");
}

function linkTarget(path: string): string | null {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null;
  } catch {
    return null;
  }
}

const watchWithFs = ((directory, onEvent, onLost) => {
  const watcher = watchDirectory(directory, { persistent: false }, (_, name) => onEvent(name));
  watcher.on("error", onLost);
  return watcher;
}) satisfies Watch;
