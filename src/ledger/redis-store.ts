import { RedisClient } from "bun";
import type { RedisOptions } from "bun";
import type { Clock } from "../clock.ts";
import type { Entry } from "./redis-board.ts";
import board from "./redis-board.lua" with { type: "text" };
import script from "./redis.lua" with { type: "text" };

/** Connections are tried again after so long, ms. */
const againMs = 500;
const connectMs = 1_000;
/** Processes that were not heard of for so long are gone, ms. */
export const memberMs = 6_000;

/**
 * Counts the processes, and tells all where their number has changed: KEYS[1] their times; ARGV[1] this one; ARGV[2] how
 * long each counts, ms (0: this one leaves); ARGV[3] the channel for news.
 */
const members = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local changes
local added = 0
if ARGV[2] == '0' then
  changes = redis.call('ZREM', KEYS[1], ARGV[1])
else
  added = redis.call('ZADD', KEYS[1], now, ARGV[1])
  changes = added + redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
end
local count = redis.call('ZCARD', KEYS[1])
if changes > 0 then redis.call('PUBLISH', ARGV[3], '# ' .. count) end
return { count, added }`;

/**
 * Has all give back what they hold of KEYS[1], or forget it: ARGV[1] the channel for news; ARGV[2] the news; ARGV[3]
 * whether it is deleted.
 */
const recall = `
if ARGV[3] == '1' then redis.call('DEL', KEYS[1]) end
return redis.call('PUBLISH', ARGV[1], ARGV[2])`;

export interface News {
  /** Whom it is for: a process, or `*` for all; `-` tells all that the account was forgotten. */
  to: string;
  account: string;
}

/** What the ledger needs of Redis. Answers come by callback, so that a store in the same process can answer at once. */
export interface RedisStore {
  readonly channel: string;
  onNews: (news: News) => void;
  /** Called with the number of processes where it has changed. */
  onCount: (count: number) => void;
  /** Called with an entry of the board, as JSON, that somebody has posted. */
  onPost: (entry: string) => void;
  /** Called after each connection. */
  onConnect: () => void;
  readonly isConnected: boolean;
  /** Since when something is unanswered or the connection is missing; null where all is well. */
  readonly silentSince: number | null;
  /** Why, without a secret. */
  readonly reason: string;
  open(): void;
  /** Gives up a connection that says nothing. */
  reopen(now: number): void;
  /** Sends a message to the script of `account`; null if there is no answer: it may have been heard nevertheless. */
  exchange(account: string, message: string, done: (reply: string | null) => void): void;
  /** Has every process give back what it does not use of `account`. */
  recall(account: string): void;
  /** Forgets `account`, and tells all; `done` is called when that was heard, or will not be. */
  forget(account: string, done: () => void): void;
  /** Gives up the connection to the node of a cluster that has `account`, which says nothing. */
  giveUp(account: string): void;
  /** Says that process `id` is here; the answer is how many there are, and whether it was not known to be one. */
  pulse(id: string, done: (count: number | null, isNew: boolean) => void): void;
  /** Puts an entry on the board, if none of a higher rank is there; where Redis does not hear it, nothing happens. */
  post(entry: Entry): void;
  /** All that stands on the board, as a JSON array; null if there is no answer. */
  readBoard(done: (entries: string | null) => void): void;
  /** Resolves when everything sent is answered, or will not be. */
  close(): Promise<void>;
}

interface Script {
  text: string;
  sha: string;
}

/** Redis or Valkey at `url`; of a cluster, any of its nodes. Credentials and TLS are the URL's. */
export class RedisServer implements RedisStore {
  readonly channel: string;
  onNews: (news: News) => void = () => undefined;
  onCount: (count: number) => void = () => undefined;
  onPost: (entry: string) => void = () => undefined;
  onConnect: () => void = () => undefined;
  reason = "it has not been reached yet";
  /** Commands sent, for measurements. */
  commands = 0;
  readonly #url: string;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #main = prepared(script);
  readonly #members = prepared(members);
  readonly #board = prepared(board);
  readonly #recall = prepared(recall);
  /** Connections by node: the one of the URL is ''. */
  readonly #nodes = new Map<string, Promise<RedisClient>>();
  /** Which node of a cluster has a key, where it is not the one of the URL. */
  readonly #homes = new Map<string, string>();
  #listener: RedisClient | null = null;
  #client: RedisClient | null = null;
  #unanswered = 0;
  #since: number | null;
  #cancelTimer: () => void = () => undefined;
  #isOpen = true;
  #isOpening = false;
  #reopenedAt = -Infinity;
  readonly #waits = new Set<Promise<unknown>>();
  #id = "";

  readonly #options: RedisOptions;

  /** @param authorities whom to trust where the URL asks for TLS, PEM; null: those of the runtime */
  constructor(
    url: string,
    prefix: string,
    clock: Clock,
    authorities: readonly string[] | null = null,
  ) {
    this.#url = url;
    const isTls = /^rediss:|\+tls:/.test(url);
    this.#options =
      isTls && authorities !== null ? { ...options, tls: { ca: [...authorities] } } : options;
    this.#prefix = prefix;
    this.#clock = clock;
    this.channel = `${prefix}news`;
    this.#since = clock.now();
  }

  get isConnected(): boolean {
    return this.#client !== null;
  }

  get silentSince(): number | null {
    return this.#since;
  }

  open(): void {
    if (!this.#isOpening && this.#isOpen) void this.#connect();
  }

  reopen(now: number): void {
    if (this.#client === null || now - this.#reopenedAt < connectMs) return;
    this.#reopenedAt = now;
    this.#lose(silence);
  }

  exchange(account: string, message: string, done: (reply: string | null) => void): void {
    // The braces make one account one slot of a cluster.
    this.#track(this.#run(this.#main, `${this.#prefix}{${account}}`, [message, ""]), done);
  }

  recall(account: string): void {
    this.#tellOf(account, "*", "0", () => undefined);
  }

  forget(account: string, done: () => void): void {
    this.#tellOf(account, "-", "1", done);
  }

  #tellOf(account: string, to: string, isDeleted: "0" | "1", done: () => void): void {
    const args = [this.channel, `${to} ${account}`, isDeleted];
    this.#track(this.#run(this.#recall, `${this.#prefix}{${account}}`, args), done);
  }

  giveUp(account: string): void {
    const key = `${this.#prefix}{${account}}`;
    const home = this.#homes.get(key);
    this.#homes.delete(key);
    // The connection of the URL is everybody's: `reopen` looks after it.
    const node = home === undefined ? undefined : this.#nodes.get(home);
    if (home !== undefined) this.#nodes.delete(home);
    node?.then((found) => found.close()).catch(() => undefined);
  }

  pulse(id: string, done: (count: number | null, isNew: boolean) => void): void {
    this.#id = id;
    const key = `${this.#prefix}members`;
    this.#track(this.#run(this.#members, key, [id, String(memberMs), this.channel]), (reply) => {
      const [count = NaN, added] = (reply ?? "").split(",").map(Number);
      done(reply === null ? null : count, added === 1);
    });
  }

  post(entry: Entry): void {
    const args = [entry.topic, String(entry.rank), JSON.stringify(entry), this.channel];
    this.#track(this.#run(this.#board, `${this.#prefix}board`, args), () => undefined);
  }

  readBoard(done: (entries: string | null) => void): void {
    this.#track(this.#run(this.#board, `${this.#prefix}board`, ["", "", "", ""]), done);
  }

  async close(): Promise<void> {
    this.#cancelTimer();
    if (this.#client !== null && this.#id !== "") {
      const key = `${this.#prefix}members`;
      this.#track(this.#run(this.#members, key, [this.#id, "0", this.channel]), () => undefined);
    }
    await Promise.race([Promise.allSettled(this.#waits), this.#pause(connectMs)]);
    this.#isOpen = false;
    this.#cancelTimer();
    this.#drop();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#cancelTimer = this.#clock.at(this.#clock.now() + ms, resolve);
    });
  }

  #track(run: Promise<string>, done: (reply: string | null) => void): void {
    const wait = this.#heed(run, done);
    this.#waits.add(wait);
    void wait.finally(() => this.#waits.delete(wait));
  }

  async #heed(run: Promise<string>, done: (reply: string | null) => void): Promise<void> {
    let reply: string | null = null;
    try {
      reply = await run;
    } catch (error) {
      this.reason = plain(error);
    }
    done(reply);
  }

  /** Sends a command on the connection of the URL, and sees whether it is answered: with a redirection is, too. */
  async #ask(client: RedisClient, command: string, args: string[]): Promise<unknown> {
    this.#unanswered++;
    this.#since ??= this.#clock.now();
    let isAlive = false;
    try {
      const reply: unknown = await client.send(command, args);
      isAlive = true;
      return reply;
    } catch (error) {
      isAlive = /^(NOSCRIPT|MOVED|ASK) /.test(plain(error));
      throw error;
    } finally {
      this.#unanswered--;
      if (isAlive && this.#client === client)
        this.#since = this.#unanswered > 0 ? this.#clock.now() : null;
    }
  }

  /** Runs a script that Redis knows by its digest, or gets to know now; in a cluster, where the key is. */
  async #run({ text, sha }: Script, key: string, args: string[]): Promise<string> {
    let asking = false;
    let known = true;
    for (let tries = 0; tries < 6; tries++) {
      const home = this.#homes.get(key) ?? "";
      const client = home === "" ? this.#client : await this.#node(home);
      if (client === null) throw new Error(this.reason);
      try {
        this.commands++;
        // The two go to the server together: nothing else comes between them on this connection.
        if (asking) void client.send("ASKING", []).catch(() => undefined);
        const command = known ? "EVALSHA" : "EVAL";
        const all = [known ? sha : text, "1", key, ...args];
        return String(
          await (home === "" ? this.#ask(client, command, all) : client.send(command, all)),
        );
      } catch (error) {
        const [what = "", , where = ""] = plain(error).split(" ");
        if (what === "NOSCRIPT") known = false;
        else if (what === "MOVED" || what === "ASK") {
          asking = what === "ASK";
          this.#homes.set(key, where);
        } else {
          if (home !== "") this.#homes.delete(key);
          throw error;
        }
      }
    }
    throw new Error("it sends from node to node");
  }

  async #node(address: string): Promise<RedisClient> {
    let node = this.#nodes.get(address);
    if (node === undefined) {
      const url = new URL(this.#url);
      url.host = address;
      const client = new RedisClient(url.href, this.#options);
      client.onclose = () => void this.#nodes.delete(address);
      node = client.connect().then(() => client);
      node.catch(() => this.#nodes.delete(address));
      this.#nodes.set(address, node);
    }
    return node;
  }

  async #connect(): Promise<void> {
    this.#isOpening = true;
    try {
      const client = new RedisClient(this.#url, this.#options);
      const listener = new RedisClient(this.#url, this.#options);
      client.onclose = (error) => {
        if (this.#client === client) this.#lose(plain(error));
      };
      listener.onclose = (error) => {
        if (this.#listener === listener) this.#lose(plain(error));
      };
      try {
        await Promise.all([client.connect(), listener.connect()]);
        await listener.subscribe(this.channel, (news) => this.#tell(news));
      } catch (error) {
        client.close();
        listener.close();
        throw error;
      }
      this.#client = client;
      this.#listener = listener;
      this.#isOpening = false;
      this.reason = silence;
      if (!this.#isOpen) return this.#drop();
      this.onConnect();
    } catch (error) {
      this.#isOpening = false;
      const said = plain(error);
      // That is all the runtime says of most reasons.
      this.reason = said === "Connection closed" ? noConnection : said;
      this.#later();
    }
  }

  #tell(news: string): void {
    const [to = "", ...rest] = news.split(" ");
    if (to === "#") this.onCount(Number(rest[0]));
    else if (to === "!") this.onPost(rest.join(" "));
    else this.onNews({ to, account: rest.join(" ") });
  }

  #lose(reason: string): void {
    this.reason = reason;
    this.#since ??= this.#clock.now();
    this.#drop();
    this.#later();
  }

  #drop(): void {
    const [client, listener] = [this.#client, this.#listener];
    this.#client = null;
    this.#listener = null;
    client?.close();
    listener?.close();
    for (const node of this.#nodes.values())
      node.then((found) => found.close()).catch(() => undefined);
    this.#nodes.clear();
    this.#homes.clear();
  }

  #later(): void {
    if (!this.#isOpen) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.at(this.#clock.now() + againMs, () => this.open());
  }
}

const silence = "it does not answer";
const noConnection =
  "no connection: nobody listens there, or address, user, password or certificate are not accepted";

const options = {
  autoReconnect: false,
  enableOfflineQueue: false,
  connectionTimeout: connectMs,
} as const;

function prepared(text: string): Script {
  return { text, sha: new Bun.CryptoHasher("sha1").update(text).digest("hex") };
}

/** An error's text on one line: Redis's own say what, none has the URL. */
function plain(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .replaceAll(/\s+/g, " ")
    .replaceAll(/\b(rediss?|valkeys?)(\+\w+)?:\/\/\S+/g, "the server");
}
