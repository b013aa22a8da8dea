/** Bytes of a place: its length, and the characters. Keys' hashes, IPv4 addresses and most names fit. */
const width = 24;
/** In place of a length: the id stands elsewhere. */
const elsewhere = 255;

/**
 * The ids at some places. Short ones stand as bytes in one array: to compare one is a single look into memory, where a
 * string takes three (its place in a list, the string, its characters), and it has half the size.
 */
export class Ids {
  readonly #bytes: Buffer;
  /** Those that are longer, or have characters that are no bytes. */
  readonly #long = new Map<number, string>();

  constructor(places: number) {
    this.#bytes = Buffer.alloc(places * width);
  }

  /** The id at `place`; empty where there is none. */
  at(place: number): string {
    const start = place * width;
    const length = this.#bytes[start] ?? 0;
    if (length === elsewhere) return this.#long.get(place) ?? "";
    return this.#bytes.toString("latin1", start + 1, start + 1 + length);
  }

  /** Whether `id`, which is not empty, stands at `place`. */
  stands(place: number, id: string): boolean {
    const start = place * width;
    const bytes = this.#bytes;
    if (bytes[start] === elsewhere) return this.#long.get(place) === id;
    if (bytes[start] !== id.length) return false;
    for (let i = 0; i < id.length; i++) if (bytes[start + 1 + i] !== id.charCodeAt(i)) return false;
    return true;
  }

  /** Puts `id` at `place`, which has none; an empty one takes away what stands there. */
  put(place: number, id: string): void {
    const start = place * width;
    if (this.#bytes[start] === elsewhere) this.#long.delete(place);
    this.#bytes[start] = id.length;
    if (this.#write(start + 1, id)) return;
    this.#bytes[start] = elsewhere;
    this.#long.set(place, id);
  }

  /** All that there are, with their places. */
  *entries(): Generator<[place: number, id: string]> {
    for (let start = 0; start < this.#bytes.length; start += width) {
      if (this.#bytes[start] !== 0) yield [start / width, this.at(start / width)];
    }
  }

  /** @returns false where it does not fit */
  #write(start: number, id: string): boolean {
    if (id.length >= width) return false;
    for (let i = 0; i < id.length; i++) {
      const code = id.charCodeAt(i);
      if (code > 255) return false;
      this.#bytes[start + i] = code;
    }
    return true;
  }
}
