import type { LinkHost } from "./redis-pace.ts";
import { againMs, deadMs, silenceMs } from "./redis-pace.ts";
import type { Sending } from "./redis-asking.ts";

/**
 * Brings one message at a time to an account's place in Redis, again and again until it is answered: its node of a
 * cluster may be gone while all others are there.
 */
export class Courier {
  /** The message under way. */
  sending: Sending | null = null;
  /** When one was handed over last. */
  lastAt = -Infinity;
  /** There has been no answer for so long that none is waited for any more. */
  isSilent = false;
  readonly #host: LinkHost;
  readonly #account: string;
  readonly #answered: (sending: Sending, reply: string) => void;
  /** Since when the message is under way. */
  #since = Infinity;
  /** When it is known to have got no answer. */
  #failedAt = Infinity;

  /** @param answered called once for each message that was posted, when it is no longer under way */
  constructor(
    host: LinkHost,
    account: string,
    answered: (sending: Sending, reply: string) => void,
  ) {
    this.#host = host;
    this.#account = account;
    this.#answered = answered;
  }

  post(sending: Sending): void {
    this.sending = sending;
    this.#since = this.#host.now();
    this.again();
  }

  /** Sends what is under way once more: it may have been lost with a connection. */
  again(): void {
    const { sending } = this;
    if (sending === null) return;
    const tries = ++sending.tries;
    this.lastAt = this.#host.now();
    this.#failedAt = Infinity;
    this.#host.send(this.#account, sending.text, (reply) => {
      if (this.sending !== sending) return;
      if (reply === null) {
        if (sending.tries === tries) this.#failedAt = this.#host.now();
        return;
      }
      this.sending = null;
      this.#answered(sending, reply);
    });
  }

  /** Called now and then: sends again what got no answer, and sees whether there is silence. */
  watch(now: number): void {
    if (this.sending === null) return;
    if (now - this.#since >= silenceMs) this.isSilent = true;
    if (now - this.lastAt >= deadMs) {
      this.#host.giveUp(this.#account);
      this.again();
    } else if (now - this.#failedAt >= againMs) this.again();
  }
}
