import { afterEach, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { watchConfig } from "../../src/config/watch.ts";

const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) cleanUp();
});

function temporaryDirectory(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "watch-")));
  cleanUps.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Watches a real file; `next` resolves at the next change that is reported. */
function watching(path: string): { next(): Promise<void>; count(): number } {
  let wake = (): void => {};
  let count = 0;
  const onChange = (): void => {
    count += 1;
    wake();
  };
  const watcher = watchConfig(path, onChange, { clock: systemClock() });
  cleanUps.push(() => watcher.close());
  return { next: () => new Promise((resolve) => (wake = resolve)), count: () => count };
}

const replacements: [string, (path: string) => void][] = [
  ["is written in place", (path) => writeFileSync(path, "port: 2")],
  [
    "is replaced by renaming another over it, as editors do",
    (path) => {
      writeFileSync(`${path}.swp`, "port: 2");
      renameSync(`${path}.swp`, path);
    },
  ],
  [
    "is moved to a backup and written anew",
    (path) => {
      renameSync(path, `${path}~`);
      writeFileSync(path, "port: 2");
    },
  ],
];

for (const [what, replace] of replacements) {
  test(`a change is seen when the file ${what}, and again afterwards`, async () => {
    const path = join(temporaryDirectory(), "config.yaml");
    writeFileSync(path, "port: 1");
    const watcher = watching(path);
    const first = watcher.next();
    replace(path);
    await first;
    const second = watcher.next();
    writeFileSync(path, "port: 3");
    await second;
    expect(watcher.count()).toBe(2);
  });
}

test("a swapped symbolic link is seen, as Kubernetes swaps a ConfigMap", async () => {
  const directory = temporaryDirectory();
  const publish = (version: string): void => {
    mkdirSync(join(directory, `..${version}`));
    writeFileSync(join(directory, `..${version}`, "config.yaml"), version);
    symlinkSync(`..${version}`, join(directory, "..data_tmp"));
    renameSync(join(directory, "..data_tmp"), join(directory, "..data"));
  };
  publish("one");
  symlinkSync("..data/config.yaml", join(directory, "config.yaml"));
  const watcher = watching(join(directory, "config.yaml"));
  for (const version of ["two", "three"]) {
    const next = watcher.next();
    publish(version);
    await next;
  }
  expect(watcher.count()).toBe(2);
});

test("a link far from the file is seen too", async () => {
  const [mine, theirs] = [temporaryDirectory(), temporaryDirectory()];
  for (const version of ["v1", "v2"]) {
    mkdirSync(join(theirs, version));
    writeFileSync(join(theirs, version, "c.yaml"), version);
  }
  symlinkSync("v1", join(theirs, "current"));
  symlinkSync(join(theirs, "current", "c.yaml"), join(mine, "config.yaml"));
  const watcher = watching(join(mine, "config.yaml"));
  const next = watcher.next();
  unlinkSync(join(theirs, "current"));
  symlinkSync("v2", join(theirs, "current"));
  await next;
  const again = watcher.next();
  writeFileSync(join(theirs, "v2", "c.yaml"), "v3");
  await again;
  expect(watcher.count()).toBe(2);
});

test("a directory that goes away and comes back is watched again", async () => {
  const directory = join(temporaryDirectory(), "conf");
  const path = join(directory, "config.yaml");
  mkdirSync(directory);
  writeFileSync(path, "port: 1");
  const watcher = watching(path);
  const next = watcher.next();
  rmSync(directory, { recursive: true });
  mkdirSync(directory);
  writeFileSync(path, "port: 2");
  await next;
  const again = watcher.next();
  writeFileSync(path, "port: 3");
  await again;
});

test("a directory that is swapped for another is watched again", async () => {
  const root = temporaryDirectory();
  for (const version of ["conf", "conf.new"]) {
    mkdirSync(join(root, version));
    writeFileSync(join(root, version, "config.yaml"), version);
  }
  const watcher = watching(join(root, "conf", "config.yaml"));
  const next = watcher.next();
  renameSync(join(root, "conf"), join(root, "conf.old"));
  renameSync(join(root, "conf.new"), join(root, "conf"));
  await next;
  const again = watcher.next();
  writeFileSync(join(root, "conf", "config.yaml"), "newer");
  await again;
});

/** A clock whose time the test moves. */
function handClock(): Clock & { advance(ms: number): void } {
  let now = 0;
  let due: { at: number; run: () => void }[] = [];
  return {
    now: () => now,
    at: (at, run) => {
      const entry = { at, run };
      due.push(entry);
      return () => void (due = due.filter((other) => other !== entry));
    },
    advance: (ms) => {
      now += ms;
      const ready = due.filter((entry) => entry.at <= now);
      due = due.filter((entry) => entry.at > now);
      for (const entry of ready) entry.run();
    },
  };
}

interface Staged {
  path: string;
  clock: ReturnType<typeof handClock>;
  event: (name?: string | null) => void;
  lose: () => void;
  changes: () => number;
  open: () => number;
  close: () => void;
}

/** A watcher whose events and time the test makes itself. */
function staged(): Staged {
  const path = join(temporaryDirectory(), "config.yaml");
  writeFileSync(path, "port: 1");
  const clock = handClock();
  let changes = 0;
  const open = new Set<{ event(name: string | null): void; lose(): void }>();
  const watcher = watchConfig(path, () => void (changes += 1), {
    clock,
    watch: (_directory, event, lose) => {
      const entry = { event, lose };
      open.add(entry);
      return { close: () => void open.delete(entry) };
    },
  });
  const all = (run: (entry: { event(name: string | null): void; lose(): void }) => void): void =>
    [...open].forEach(run);
  return {
    path,
    clock,
    event: (name = "config.yaml") => all((entry) => entry.event(name)),
    lose: () => all((entry) => entry.lose()),
    changes: () => changes,
    open: () => open.size,
    close: () => watcher.close(),
  };
}

test("many events within 100 ms are one change, reported when they have ended", () => {
  const { path, clock, event, changes } = staged();
  for (const port of [2, 3, 4]) {
    writeFileSync(path, `port: ${port}`);
    event();
    clock.advance(90);
  }
  expect(changes()).toBe(0);
  clock.advance(10);
  expect(changes()).toBe(1);
});

test("events without end do not put a change off for ever", () => {
  const { path, clock, event, changes } = staged();
  writeFileSync(path, "port: 2");
  for (let time = 0; time < 1_100; time += 50) {
    event();
    clock.advance(50);
  }
  expect(changes()).toBe(1);
});

test("neither the same content nor another file is a change; an event without a name may be one", () => {
  const { path, clock, event, changes } = staged();
  writeFileSync(path, "port: 1");
  event();
  clock.advance(100);
  writeFileSync(path, "port: 2");
  event("cooldown.db-wal");
  clock.advance(5_000);
  expect(changes()).toBe(0);
  event(null);
  clock.advance(100);
  expect(changes()).toBe(1);
});

test("a file that vanishes is no change, and is looked for until it is back", () => {
  const { path, clock, event, changes } = staged();
  unlinkSync(path);
  event();
  clock.advance(100);
  clock.advance(1_000);
  expect(changes()).toBe(0);
  writeFileSync(path, "port: 1");
  clock.advance(1_000);
  expect(changes()).toBe(0);
  writeFileSync(path, "port: 2");
  event();
  clock.advance(100);
  expect(changes()).toBe(1);
});

test("a watch that ends by itself is opened again, and what changed meanwhile is seen", () => {
  const { path, clock, lose, changes, open } = staged();
  writeFileSync(path, "port: 2");
  lose();
  clock.advance(1_000);
  expect(changes()).toBe(1);
  expect(open()).toBe(1);
});

test("after close nothing is watched and nothing reported", () => {
  const { path, clock, event, lose, changes, open, close } = staged();
  writeFileSync(path, "port: 2");
  event();
  close();
  lose();
  clock.advance(5_000);
  expect(changes()).toBe(0);
  expect(open()).toBe(0);
});

test("a path in a directory that is not there is no error", () => {
  const watcher = watchConfig(join(temporaryDirectory(), "none", "config.yaml"), () => {}, {
    clock: handClock(),
  });
  watcher.close();
});
