import type { LimitMessage, Message, Reply } from "../../src/ledger/redis-message.ts";
import type { Entry } from "../../src/ledger/redis-board.ts";
import type { RedisStore } from "../../src/ledger/redis-store.ts";
import {
  report,
  keepMs,
  hold,
  usedOf,
  bury,
  count,
  fitsAt,
  grantTurns,
  sum,
} from "./redis-model-level.ts";
import type { Level, Peer, State } from "./redis-model-level.ts";

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
