import type { LimitMessage, Message, Reply } from "../../src/ledger/redis-message.ts";
import type { Entry } from "../../src/ledger/redis-board.ts";
import type { RedisStore } from "../../src/ledger/redis-store.ts";

interface Level {
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

interface Peer {
  q: number;
  x: number;
  claim: { since: number; until: number; isBlind: boolean; wants: Map<string, number> } | null;
  reply: string;
}

interface State {
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

const sum = (values: Iterable<number>): number => {
  let all = 0;
  for (const value of values) all += value;
  return all;
};

/** What `redis.lua` does, as plainly as it can be said: every call works its answer out from all there is. */
export class RedisModel {
  readonly states = new Map<string, State>();
  /** What stands on the board, by topic. */
  readonly board = new Map<string, Entry>();
  /** Processes that have said that they are there. */
  readonly members = new Set<string>();
  /** Those that hear the news. */
  readonly stores: RedisStore[] = [];

  run(key: string, m: Message, at: number): Reply {
    const s: State = this.states.get(key) ?? {
      inc: m.inc,
      freed: false,
      at: 0,
      until: Infinity,
      peers: new Map(),
      levels: new Map(),
      told: -Infinity,
      tell: "",
      called: 0,
      quiet: m.again === undefined ? 0 : Math.max(at, 0) + m.again,
    };
    const now = Math.max(at, s.at);
    s.at = now;
    const known = s.peers.get(m.id);
    if (known?.q === m.n && known.x > now) return JSON.parse(known.reply) as Reply;
    const dead = [...s.peers].filter(([, { x }]) => x <= now);
    dead.sort(([a, { x }], [b, { x: y }]) => x - y || (a < b ? -1 : 1));
    for (const [id, peer] of dead) bury(s, id, peer, now);
    const unknown = m.hello
      ? m.knew !== undefined && m.knew !== s.inc
      : s.peers.get(m.id)?.q !== m.n - 1;
    if (unknown) return { status: "unknown", now: String(now), inc: s.inc } as Reply;
    const me: Peer = s.peers.get(m.id) ?? { q: 0, x: 0, claim: null, reply: "" };
    s.peers.set(m.id, me);
    this.states.set(key, s);

    const levels = m.L.map((d) => report(s, m, d, now));
    const waiting = [...s.peers].flatMap(([id, { claim }]) =>
      id !== m.id && claim !== null && claim.until > now ? [{ id, ...claim }] : [],
    );
    const others = waiting.length;
    const earlier = waiting.filter(({ since }) => me.claim === null || since < me.claim.since);
    const before = (k: string): number => sum(earlier.map(({ wants }) => wants.get(k) ?? 0));

    let ok = m.ask;
    let knows = true;
    let wake = now;
    const look = (d: LimitMessage, level: Level, amount: number, blocks: boolean): void => {
      const fits = fitsAt(level, d, amount + before(d.k), now);
      if (fits === null) knows = false;
      else if (!blocks) wake = Math.max(wake, fits - (d.hz ?? 0));
      else if (fits > now + (d.hz ?? 0)) wake = Math.max(wake, fits - (d.hz ?? 0));
      if (blocks && (fits === null || fits > now + (d.hz ?? 0))) ok = false;
    };
    if (m.ask && s.quiet > now) {
      ok = false;
      wake = s.quiet;
    } else if (m.ask) m.L.forEach((d, i) => d.min > 0 && look(d, levels[i] as Level, d.min, true));
    const grants = m.L.map((): [number, number, number, number] => [0, 0, 0, 0]);
    if (ok) {
      let turns = 1e9;
      m.L.forEach((d, i) => {
        if (d.t === "l") return;
        const level = levels[i] as Level;
        const room = level.lim - usedOf(level) - before(d.k);
        let g = Math.min(d.max, Math.floor(room + 1e-6));
        const over = others > 0 ? 0 : Math.floor(room / 2);
        if (g > d.fair) g = Math.max(d.fair, Math.min(g, over));
        if (d.soon !== undefined) {
          const drains = Math.min(
            sum(level.slices.values()),
            ((d.hz ?? 0) * level.lim) / level.win,
          );
          g = Math.max(g, Math.min(d.soon, Math.floor(room + drains + 1e-6)));
        }
        g = Math.max(d.min, g);
        if (others === 0) g += Math.max(0, Math.min(d.pre, Math.floor((room - g) * 0.05)));
        const fits = d.t === "b" ? (fitsAt(level, d, g + before(d.k), now) ?? now) : now;
        hold(level, m.id, g - (d.use ?? 0));
        if (d.use !== undefined) count(level, Math.floor(now / level.sl), d.use, now);
        grants[i] = [g, fits, 0, 0];
        if (d.one) turns = Math.min(turns, (d.have ?? 0) + g);
      });
      m.L.forEach((d, i) => {
        if (d.t !== "l") return;
        grants[i] = grantTurns(
          levels[i] as Level,
          { ...d, id: m.id, isFirst: others === 0 },
          turns,
          now,
        );
      });
      if (m.more)
        m.L.forEach((d, i) => {
          if (d.t === "l" || d.min > 0) look(d, levels[i] as Level, Math.max(1, d.min), false);
        });
    }
    const isShort = m.L.some((d, i) => d.min > 0 && (grants[i]?.[0] ?? 0) < d.max);
    const claims = m.ask && (!ok || (m.more && isShort));
    if (m.drop === true || (m.ask && !claims)) me.claim = null;
    else if (claims)
      me.claim = {
        since: ok ? now : (me.claim?.since ?? now),
        until: (knows ? wake : now + 2_000) + 1_500,
        isBlind: !knows,
        wants: new Map(m.L.flatMap((d) => (d.min > 0 ? [[d.k, d.min] as const] : []))),
      };
    const isCombed = m.L.some(
      (d, i) =>
        d.min > 0 && (!ok || m.more) && levels[i]?.combs.some(({ id }) => id !== m.id) === true,
    );
    this.#announce(s, m, levels, waiting, { now, knows, claims, isCombed });
    s.freed = false;
    const reply: Reply = {
      status: "ok",
      now: String(now),
      inc: s.inc,
      ok,
      others,
      claim: me.claim !== null,
      wait: knows ? String(wake - now) : "-1",
      keep: keepMs(s, m, now),
      L: levels.map((level, i) => {
        const [g, base, old, step] = grants[i] ?? [0, 0, 0, 0];
        const counted = sum(level.slices.values());
        const theirs = sum(level.held.values()) - (level.held.get(m.id) ?? 0);
        return [g, String(counted), String(theirs), String(base), String(old), String(step)];
      }),
    };
    s.until = now + reply.keep;
    me.q = m.n;
    me.x = now + m.ttl;
    me.reply = JSON.stringify(reply);
    return reply;
  }

  /** What `redis-board.lua` does with an entry. */
  post(entry: Entry, now: number): void {
    const old = this.board.get(entry.topic);
    if (old !== undefined && old.until > now && old.rank > entry.rank) return;
    this.board.set(entry.topic, entry);
    for (const store of this.stores) store.onPost(JSON.stringify(entry));
  }

  #announce(
    s: State,
    m: Message,
    levels: readonly Level[],
    waiting: readonly { id: string; since: number; isBlind: boolean; wants: Map<string, number> }[],
    {
      now,
      knows,
      claims,
      isCombed,
    }: Record<"knows" | "claims" | "isCombed", boolean> & { now: number },
  ): void {
    const first = waiting.reduce<(typeof waiting)[number] | null>(
      (best, item) => (best === null || item.since < best.since ? item : best),
      null,
    );
    let news: string | null = null;
    if (first !== null && s.quiet <= now && (s.freed || now - s.told >= 1 || s.tell !== first.id)) {
      const mine = s.peers.get(m.id)?.claim?.since ?? Infinity;
      const isBlind = first.isBlind && first.since <= mine;
      const fits = m.L.every((d, i) => {
        const amount = first.wants.get(d.k);
        if (amount === undefined) return true;
        const at = fitsAt(levels[i] as Level, d, amount, now);
        return at !== null && (isBlind || at <= now + (s.freed ? 50 : (d.hz ?? 0)));
      });
      if (fits) news = first.id;
    }
    if (news !== null) {
      s.told = now;
      s.tell = news;
    } else if (m.ask && isCombed && now - s.called >= 20) {
      news = "*";
      s.called = now;
    } else if (claims && !knows && now - s.called >= 20) {
      const isHeld = m.L.some((d, i) => {
        const held = levels[i]?.held ?? new Map<string, number>();
        return d.min > 0 && sum(held.values()) > (held.get(m.id) ?? 0);
      });
      if (isHeld) news = "*";
      if (isHeld) s.called = now;
    }
    const to = news;
    if (to !== null)
      queueMicrotask(() => this.stores.forEach((store) => store.onNews({ to, account: m.name })));
  }
}

function report(s: State, m: Message, d: LimitMessage, now: number): Level {
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

function keepMs(s: State, m: Message, now: number): number {
  const each = [...s.levels.values()].map((level) => {
    if (level.t === "l") return level.tat / 1_000 - now;
    if (level.t === "b") return level.win * 1.2 * Math.max(1, usedOf(level) / level.lim);
    return level.win * 1.2;
  });
  return Math.floor(Math.max(2 * m.ttl, ...each) + m.ttl + 5_000);
}

function hold(level: Level, id: string, amount: number): void {
  const has = Math.max(0, (level.held.get(id) ?? 0) + amount);
  if (has > 0) level.held.set(id, has);
  else level.held.delete(id);
}

function usedOf(level: Level): number {
  return (level.t === "c" ? 0 : sum(level.slices.values())) + sum(level.held.values());
}

function bury(s: State, id: string, peer: Peer, now: number): void {
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

function count(level: Level, slice: number, amount: number, now: number): void {
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

function fitsAt(level: Level, d: LimitMessage, amount: number, now: number): number | null {
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

function grantTurns(
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
