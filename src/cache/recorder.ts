import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate, zstdDecompress } from "node:zlib";

import { isEventStream } from "./stored.ts";

/** Begins to read along one stream of events (a provider's `Dialect.follow`). */
export type FollowStream = () => StreamFollower;

/** The part of a stream meter that is needed here. */
export interface StreamFollower {
  push(this: void, chunk: Uint8Array): void;
  /** Whether the stream's last event was seen, and whether that was an error. */
  end(): { readonly finished: boolean; readonly failed: boolean };
}

/** A copy of one answer that is being made while the answer passes. */
export interface Recording {
  /** The next bytes; they are copied. */
  push(this: void, chunk: Uint8Array): void;
  /**
   * Nothing more will come. To be called once, whatever happened.
   * @param complete whether the answer ended as it should: not aborted, not broken off
   * @returns a promise where the end of a compressed stream has to be looked at first
   */
  end(complete: boolean): void | Promise<void>;
}

/** Room that an answer of unknown length begins with, bytes. */
const smallRoom = 4 * 1024;
/** A compressed stream that is longer than this is not looked into, and so not kept. */
const largestDecoded = 16 * 1024 * 1024;

type Decode = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>;
const decoders: Readonly<Partial<Record<string, Decode>>> = {
  gzip: promisify(gunzip) as Decode,
  "x-gzip": promisify(gunzip) as Decode,
  deflate: promisify(inflate) as Decode,
  br: promisify(brotliDecompress) as Decode,
  zstd: promisify(zstdDecompress) as Decode,
};

/**
 * Makes copies of answers, within a bound on each and on all together: what is being recorded is memory beside the
 * cache. Beyond a bound the copy is given up; the answer itself is not touched.
 */
export class Recorder {
  readonly #largest: number;
  readonly #mostTogether: number;
  /** Room for an answer that does not say how long it is. */
  readonly firstRoom: number;
  /** Room that recordings have taken, bytes. */
  #taken = 0;

  constructor(largest: number, mostTogether: number) {
    this.#largest = largest;
    this.#mostTogether = mostTogether;
    this.firstRoom = Math.min(smallRoom, largest);
  }

  /**
   * @param keep gets the copy of an answer that has ended well
   * @returns null where the answer says that it is too large, or there is no room now
   */
  begin(
    headers: Headers,
    follow: FollowStream | null,
    keep: (body: Uint8Array<ArrayBuffer>) => void,
  ): Recording | null {
    const said = headers.get("content-length");
    const length = said === null ? null : Number(said);
    if (length !== null && length > this.#largest) return null;
    const copy = new Copy(this, length);
    if (!copy.isOpen) return null;
    const following =
      follow !== null && isEventStream(headers.get("content-type"))
        ? ended(follow, headers.get("content-encoding"))
        : null;

    const finish = (whole: boolean): void => {
      const bytes = whole ? copy.bytes() : null;
      copy.drop();
      if (bytes !== null) keep(bytes);
    };
    return {
      push(chunk) {
        if (!copy.isOpen) return;
        copy.push(chunk);
        following?.push?.(chunk);
      },
      end(complete) {
        if (!copy.isOpen) return;
        const isWhole = complete && (length === null || copy.length === length);
        const verdict = isWhole && following !== null ? following.end(copy) : isWhole;
        if (typeof verdict === "boolean") return finish(verdict);
        return verdict.then(finish, () => finish(false));
      },
    };
  }

  /** Whether `bytes` more may be held, in a copy of `total`; if so they are taken. */
  take(bytes: number, total: number): boolean {
    if (total > this.#largest || this.#taken + bytes > this.#mostTogether) return false;
    this.#taken += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
  }
}

/** Bytes that grow by doubling, in room that the recorder has granted. */
class Copy {
  readonly #recorder: Recorder;
  #room: Uint8Array<ArrayBuffer> | null = null;
  #length = 0;

  constructor(recorder: Recorder, expected: number | null) {
    this.#recorder = recorder;
    this.#grow(expected ?? recorder.firstRoom);
  }

  /** False once a bound was met: there is no copy any more. */
  get isOpen(): boolean {
    return this.#room !== null;
  }

  get length(): number {
    return this.#length;
  }

  push(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > (this.#room?.length ?? 0)) {
      // Doubled, or if that is more than may be, just what is needed.
      if (!this.#grow(Math.max(2 * (this.#room?.length ?? 0), length)) && !this.#grow(length)) {
        return this.drop();
      }
    }
    this.#room?.set(chunk, this.#length);
    this.#length = length;
  }

  /** What was pushed, in memory of just that size. */
  bytes(): Uint8Array<ArrayBuffer> | null {
    const room = this.#room;
    return room === null || room.length === this.#length ? room : room.slice(0, this.#length);
  }

  drop(): void {
    if (this.#room !== null) this.#recorder.give(this.#room.length);
    this.#room = null;
  }

  #grow(size: number): boolean {
    const before = this.#room;
    if (!this.#recorder.take(size - (before?.length ?? 0), size)) return false;
    this.#room = new Uint8Array(size);
    if (before !== null) this.#room.set(before.subarray(0, this.#length));
    return true;
  }
}

/** Looks for the last event of a stream: on the way, or in a compressed one at the end. */
function ended(
  follow: FollowStream,
  encoding: string | null,
): { push?: (chunk: Uint8Array) => void; end(copy: Copy): boolean | Promise<boolean> } {
  const follower = follow();
  const wellEnded = (): boolean => {
    const { finished, failed } = follower.end();
    return finished && !failed;
  };
  if (encoding === null || encoding === "" || encoding === "identity") {
    return { push: (chunk) => follower.push(chunk), end: wellEnded };
  }
  const decode = decoders[encoding.toLowerCase()];
  return {
    end(copy) {
      const bytes = copy.bytes();
      if (decode === undefined || bytes === null) return false;
      return decode(bytes, { maxOutputLength: largestDecoded }).then((decoded) => {
        follower.push(decoded);
        return wellEnded();
      });
    },
  };
}
