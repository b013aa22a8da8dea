import type { LimitMessage, Message } from "../../src/ledger/redis-message.ts";

/** One limit of an account, as the script keeps it. */
export interface Level {
  t: LimitMessage["t"];
  lim: number;
  win: number;
  sl: number;
  sp: number;
  mar: number;
  /** What is counted, by slice. */
  slices: Map<number, number>;
  held: Map<string, number>;
  /** Up to when the bucket has drained, ms, and how much of its first slot. */
  at: number;
  tat: number;
  /** When a turn was granted last, µs, and the interval then. */
  moved: number;
  iv: number;
  /** Turns that were given ahead, in order of their givings: whose, and when, µs. */
  combs: { id: string; turns: number[]; step: number }[];
}

/** What is known of a process. */
export interface Peer {
  q: number;
  x: number;
  claim: { since: number; until: number; isBlind: boolean; wants: Map<string, number> } | null;
  reply: string;
}

/** One account. */
export interface State {
  /** Whether a comb has ended with the present message. */
  freed: boolean;
  inc: string;
  at: number;
  /** When it is forgotten if nobody says anything more, ms. */
  until: number;
  peers: Map<string, Peer>;
  levels: Map<string, Level>;
  told: number;
  tell: string;
  called: number;
  quiet: number;
}

/** All together. */
export const sum = (values: Iterable<number>): number => {
  let all = 0;
  for (const value of values) all += value;
  return all;
};

/** Counts what a process says it has used of a limit, and gives the limit. */
export function report(s: State, m: Message, d: LimitMessage, now: number): Level {
  let level = s.levels.get(d.k);
  if (level === undefined) {
    const empty = { slices: new Map<number, number>(), held: new Map<string, number>() };
    level = {
      t: d.t,
      lim: 0,
      win: 0,
      sl: 0,
      sp: 0,
      mar: 0,
      ...empty,
      at: Math.floor(now),
      tat: 0,
      moved: 0,
      iv: 0,
      combs: [],
    };
    s.levels.set(d.k, level);
  }
  if (d.lim !== undefined) {
    level.lim = d.lim;
    level.win = d.win ?? 0;
    level.sl = d.sl ?? 0;
    level.sp = d.sp ?? 0;
    level.mar = d.mar ?? 0;
  }
  if (d.hold !== undefined) hold(level, m.id, d.hold);
  for (const [slice, amount, at = now] of d.n ?? []) {
    advance(level, now, Math.min(now, at));
    count(level, slice, amount, now);
  }
  if (d.t === "b" && now < s.quiet)
    level.at -= (Math.max(0, usedOf(level) - level.lim) * level.win) / level.lim;
  advance(level, now);
  if (d.b !== undefined) hold(level, m.id, -d.b);
  if (d.iv !== undefined) {
    const us = Math.floor(now * 1_000);
    level.combs = level.combs.toReversed().filter(({ id, turns }) => {
      const isHome = d.home !== undefined && id === m.id;
      const last = isHome ? (d.home ?? 0) : Math.max(...turns);
      if (!isHome && last + 5_000 >= us && d.iv === level.iv) return true;
      s.freed = true;
      if (last > 0) level.tat = Math.max(level.tat, last + level.iv);
      return false;
    });
    level.combs.reverse();
    const ahead = level.tat - level.moved;
    if (level.iv > 0 && level.iv !== d.iv && ahead > 0)
      level.tat = level.moved + Math.ceil((ahead * d.iv) / level.iv);
    level.iv = d.iv;
  }
  if (d.tat !== undefined) {
    level.tat = Math.max(level.tat, d.tat);
    if (level.moved === 0) level.moved = Math.floor(now * 1_000);
  }
  for (const [old, after] of d.undo ?? []) if (level.tat === after) level.tat = old;
  return level;
}

/** How long a state is kept if nobody says anything more, ms. */
export function keepMs(s: State, m: Message, now: number): number {
  const each = [...s.levels.values()].map((level) => {
    if (level.t === "l") return level.tat / 1_000 - now;
    if (level.t === "b") return level.win * 1.2 * Math.max(1, usedOf(level) / level.lim);
    return level.win * 1.2;
  });
  return Math.floor(Math.max(2 * m.ttl, ...each) + m.ttl + 5_000);
}

/** Adds so much to what a process has of a limit. */
export function hold(level: Level, id: string, amount: number): void {
  const has = Math.max(0, (level.held.get(id) ?? 0) + amount);
  if (has > 0) level.held.set(id, has);
  else level.held.delete(id);
}

/** What is counted and held of a limit. */
export function usedOf(level: Level): number {
  return (level.t === "c" ? 0 : sum(level.slices.values())) + sum(level.held.values());
}

/** Takes a process for dead, and what it held for used. */
export function bury(s: State, id: string, peer: Peer, now: number): void {
  for (const level of s.levels.values()) {
    const held = level.held.get(id) ?? 0;
    level.held.delete(id);
    if (held === 0 || (level.t !== "w" && level.t !== "b")) continue;
    advance(level, now, Math.min(now, peer.x + level.mar));
    count(level, Math.floor((peer.x + level.mar) / level.sl), held, now);
  }
  s.peers.delete(id);
}

function advance(level: Level, now: number, to = now): void {
  if (level.t === "w") {
    const first = Math.floor(now / level.sl) - level.sp + 1;
    for (const slice of level.slices.keys()) if (slice < first) level.slices.delete(slice);
  }
  if (level.t !== "b") return;
  const at = Math.max(level.at, Math.floor(to));
  let drained = ((at - level.at) * level.lim) / level.win;
  level.at = at;
  if (drained <= 0) return;
  for (const [slice, amount] of [...level.slices].sort(([a], [b]) => a - b)) {
    const part = Math.min(amount, drained);
    drained -= part;
    if (part === amount) level.slices.delete(slice);
    else level.slices.set(slice, amount - part);
  }
}

/** Counts an amount in a slice of a window, or in a bucket. */
export function count(level: Level, slice: number, amount: number, now: number): void {
  if (level.t === "w" && slice <= Math.floor(now / level.sl) - level.sp) return;
  if (level.t === "b" && sum(level.slices.values()) === 0) level.slices.clear();
  const oldest = Math.min(...level.slices.keys());
  const target =
    level.t === "b" && amount > 0 && level.slices.size > 0 ? Math.max(slice, oldest) : slice;
  const has = level.slices.get(target) ?? 0;
  const left = level.t === "b" && amount < 0 ? has - Math.min(-amount, has) : has + amount;
  // The oldest slot of a bucket stays the oldest until the next has begun to drain.
  if (left > 0 || (level.t === "b" && target === oldest)) level.slices.set(target, left);
  else level.slices.delete(target);
}

/** When an amount fits, ms; null where no time is known. */
export function fitsAt(level: Level, d: LimitMessage, amount: number, now: number): number | null {
  if (level.t === "l") {
    const first = level.combs.length === 0 ? level.tat : nextTurn(level, d, now);
    const at = first + (amount - 1) * (d.iv ?? 0) - (d.tol ?? 0);
    return at <= Math.floor(now * 1_000) ? now : Math.max(now, (at + 1) / 1_000);
  }
  const held = sum(level.held.values());
  let need = usedOf(level) + amount - level.lim - (level.t === "b" ? 1e-6 : 0);
  if (need <= 0) return now;
  if (held + amount > level.lim || level.t === "c") return null;
  if (level.t === "b") return level.at + Math.ceil((need * level.win) / level.lim);
  for (const [slice, used] of [...level.slices].sort(([a], [b]) => a - b)) {
    need -= used;
    if (need <= 0) return (slice + level.sp) * level.sl;
  }
  return null;
}

/** The first turn that nobody has, on the grid of those that were given ahead. */
function nextTurn(level: Level, d: LimitMessage, now: number): number {
  const us = Math.floor(now * 1_000);
  const [comb] = level.combs;
  if (comb === undefined) return us - level.tat <= 5_000 ? level.tat : us;
  const iv = d.iv ?? 0;
  const given = new Set(level.combs.flatMap(({ turns }) => turns));
  const from = Math.max(level.tat, us - 5_000);
  let turn = (comb.turns[0] ?? 0) % iv;
  turn += Math.ceil((from - turn) / iv) * iv;
  while (given.has(turn)) turn += iv;
  return turn;
}

/** Grants turns of a leaky bucket. */
export function grantTurns(
  level: Level,
  d: LimitMessage & { id: string; isFirst: boolean },
  most: number,
  now: number,
): [number, number, number, number] {
  const us = Math.floor(now * 1_000);
  const old = level.tat;
  const base = nextTurn(level, d, now);
  const iv = d.iv ?? 0;
  if (d.min === 0) return [0, base, old, iv];
  level.moved = us;
  const step = (d.comb ?? 0) * iv;
  const isFree = level.combs.every(
    ({ turns, step: other }) => step === other && (base - (turns[0] ?? 0)) % step !== 0,
  );
  if (d.comb !== undefined && d.isFirst && old <= us + iv && isFree) {
    const count = Math.max(1, Math.floor(1_000_000 / step));
    const turns = Array.from({ length: count }, (_, i) => base + i * step);
    level.combs.push({ id: d.id, turns, step });
    level.tat = base + iv;
    return [count, base, old, step];
  }
  const given = new Set(level.combs.flatMap(({ turns }) => turns));
  const goes = (g: number): boolean =>
    base + g * iv - (d.tol ?? 0) <= us + (d.hz ?? 0) * 1_000 && !given.has(base + g * iv);
  let g = 1;
  while (g < Math.min(d.max, most) && goes(g)) g++;
  level.tat = base + g * iv;
  return [g, base, old, iv];
}
