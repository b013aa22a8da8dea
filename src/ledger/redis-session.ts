import type { Message } from "./redis-message.ts";
import { quietMs } from "./redis-pace.ts";

/** What a process calls itself towards one account's state in Redis, and what it knows of that state. */
export class Session {
  readonly #process: string;
  #count = 0;
  /** Messages of this session so far. */
  #number = 0;
  /** Which incarnation of the state answered last, and until when it is kept at least, our time. */
  #known: { inc: string; until: number } | null = null;
  /** Redis has forgotten what it should have kept, and does not know yet that we know. */
  #isLost = false;

  constructor(process: string) {
    this.#process = process;
  }

  get id(): string {
    return `${this.#process}.${this.#count}`;
  }

  /** Whether anything was said in it. */
  get isOpen(): boolean {
    return this.#number > 0;
  }

  /** The next message begins a new one. */
  end(): void {
    this.#number = 0;
    this.#count++;
  }

  /**
   * How the next message begins.
   * @param backAt when Redis was last found to be there again, our time: it may have forgotten what others used
   */
  next(
    now: number,
    backAt: number,
  ): Pick<Message, "id" | "n" | "hello" | "inc" | "knew" | "again"> {
    const hello = this.#number === 0;
    const part: ReturnType<Session["next"]> = {
      id: this.id,
      n: ++this.#number,
      hello,
      inc: crypto.randomUUID(),
    };
    // A state that has gone by itself is no loss: nothing that was in it counts any more.
    if (hello && this.#known !== null && now >= this.#known.until) this.#known = null;
    if (hello && this.#known !== null) part.knew = this.#known.inc;
    if (this.#isLost) part.again = quietMs;
    else if (hello && now < backAt + quietMs) part.again = Math.ceil(backAt + quietMs - now);
    this.#isLost = false;
    return part;
  }

  /** @param until when the state is gone by itself at the earliest, our time */
  answered(inc: string, until: number): void {
    this.#known = { inc, until };
  }

  /** The state is `inc` and does not know this session: a new one begins. @returns whether everything was forgotten */
  unknown(inc: string, now: number): boolean {
    const isOther = this.#known !== null && inc !== this.#known.inc;
    this.#isLost = isOther && now < (this.#known?.until ?? now);
    this.#known = null;
    this.end();
    return isOther;
  }
}
