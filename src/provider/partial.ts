/** Longest text that is looked at whole, in bytes. Of one that is longer only both ends are. */
const maxWhole = 1 << 20;
/** Enough of the start to tell what kind of event it is. */
const headBytes = 4 << 10;
/** Enough of the end for the usage that follows an image or audio in the same event. */
const tailBytes = 64 << 10;

/** Gets the text of an event: its bytes from `start` to `end`, valid during the call only. */
export type OnEvent = (bytes: Buffer, start: number, end: number) => void;

/** Gets both ends of an event that was too long to keep, as Latin-1, valid JSON neither alone nor together. */
export type OnLongEvent = (head: string, tail: string) => void;

/** Whether `bytes` bytes are looked at whole. */
export function isWhole(bytes: number): boolean {
  return bytes <= maxWhole;
}

/** Reports a text that is complete in `bytes`, from `start` to `end`, whole or by its ends. */
export function report(
  bytes: Buffer,
  start: number,
  end: number,
  onEvent: OnEvent,
  onLong: OnLongEvent,
): void {
  if (isWhole(end - start)) onEvent(bytes, start, end);
  else {
    onLong(
      bytes.toString("latin1", start, start + headBytes),
      bytes.toString("latin1", end - tailBytes, end),
    );
  }
}

/** Text whose end has not come yet, collected from pieces: at most 1 MiB whole, of more only both ends. */
export class PartialText {
  #kept: Buffer = Buffer.alloc(0);
  #size = 0;
  /** The first bytes of what became too long, when `#kept` holds just the latest. */
  #head: string | null = null;

  get isEmpty(): boolean {
    return this.#size === 0 && this.#head === null;
  }

  /** Adds a copy of `part`. */
  add(part: Buffer): void {
    if (part.length === 0) return;
    if (this.#head === null && isWhole(this.#size + part.length)) this.#append(part);
    else this.#addLong(part);
  }

  /** Reports what was collected and starts afresh. */
  finish(onEvent: OnEvent, onLong: OnLongEvent): void {
    const size = this.#size;
    const head = this.#head;
    this.#size = 0;
    this.#head = null;
    if (head === null) onEvent(this.#kept, 0, size);
    else onLong(head, this.#kept.toString("latin1", Math.max(0, size - tailBytes), size));
  }

  #append(part: Buffer): void {
    const size = this.#size + part.length;
    if (size > this.#kept.length) {
      const larger = Buffer.alloc(Math.min(maxWhole, Math.max(1024, 2 * size)));
      this.#kept.copy(larger, 0, 0, this.#size);
      this.#kept = larger;
    }
    part.copy(this.#kept, this.#size);
    this.#size = size;
  }

  #addLong(part: Buffer): void {
    if (this.#head === null) {
      const first = Buffer.concat([
        this.#kept.subarray(0, this.#size),
        part.subarray(0, headBytes),
      ]);
      this.#head = first.toString("latin1", 0, headBytes);
    }
    const last = part.subarray(-tailBytes);
    // What is kept moves to the front only when there is no room behind it, so each byte moves a bounded number of times.
    if (this.#size + last.length > maxWhole) {
      const from = Math.max(0, this.#size - tailBytes);
      this.#kept.copy(this.#kept, 0, from, this.#size);
      this.#size -= from;
    }
    this.#append(last);
  }
}
