import type { PieceSource } from "../../src/cache/shared-body.ts";

/** A body whose pieces a test sends, and of which it sees what was asked for. */
export class ManualSource implements PieceSource {
  /** How often a piece was asked for. */
  reads = 0;
  cancelled = false;
  readonly #ready: (Uint8Array | null | Error)[] = [];
  #waiting: PromiseWithResolvers<Uint8Array | null> | null = null;

  read(): Promise<Uint8Array | null> {
    this.reads++;
    if (this.#waiting !== null) throw new Error("Two reads at a time.");
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    this.#pass();
    return promise;
  }

  cancel(): void {
    this.cancelled = true;
  }

  send(...pieces: (string | Uint8Array)[]): void {
    for (const piece of pieces) {
      this.#ready.push(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
    }
    this.#pass();
  }

  end(): void {
    this.#ready.push(null);
    this.#pass();
  }

  fail(error: Error): void {
    this.#ready.push(error);
    this.#pass();
  }

  #pass(): void {
    if (this.#waiting === null || this.#ready.length === 0) return;
    const next = this.#ready.shift()!;
    const { resolve, reject } = this.#waiting;
    this.#waiting = null;
    if (next instanceof Error) reject(next);
    else resolve(next);
  }
}
