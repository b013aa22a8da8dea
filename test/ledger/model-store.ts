import type { Entry } from "../../src/ledger/redis-board.ts";
import type { Message } from "../../src/ledger/redis-message.ts";
import type { News, RedisStore } from "../../src/ledger/redis-store.ts";
import type { RedisModel } from "./redis-model.ts";

/** A store in this process that answers at once: a network without a delay. */
export class ModelStore implements RedisStore {
  readonly channel = "news";
  onNews: (news: News) => void = () => undefined;
  onCount: (count: number) => void = () => undefined;
  onPost: (entry: string) => void = () => undefined;
  onConnect: () => void = () => undefined;
  isConnected = true;
  silentSince: number | null = null;
  reason = "";
  readonly #model: RedisModel;
  readonly #now: () => number;

  constructor(model: RedisModel, now: () => number) {
    this.#model = model;
    model.stores.push(this);
    this.#now = now;
  }

  open(): void {
    this.onConnect();
  }

  reopen(): void {}

  exchange(account: string, message: string, done: (reply: string | null) => void): void {
    const { states } = this.#model;
    if ((states.get(account)?.until ?? Infinity) <= this.#now()) states.delete(account);
    const reply = this.#model.run(account, JSON.parse(message) as Message, this.#now());
    done(JSON.stringify(reply));
  }

  recall(account: string): void {
    for (const store of this.#model.stores) store.onNews({ to: "*", account });
  }

  forget(account: string, done: () => void): void {
    this.#model.states.delete(account);
    for (const store of this.#model.stores) store.onNews({ to: "-", account });
    done();
  }

  giveUp(): void {}

  pulse(id: string, done: (count: number | null, isNew: boolean) => void): void {
    const { members, stores } = this.#model;
    const isNew = !members.has(id);
    members.add(id);
    done(stores.length, isNew);
  }

  post(entry: Entry): void {
    this.#model.post(entry, this.#now());
  }

  readBoard(done: (entries: string | null) => void): void {
    const all = [...this.#model.board.values()].filter(({ until }) => until > this.#now());
    done(JSON.stringify(all));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
