import { Connection } from "../../src/upstream/connection.ts";
import type { ConnectionKeeper, Wire } from "../../src/upstream/connection.ts";

/** A wire without a socket: it takes as much as a test allows, and shows what it has. */
export class FakeWire implements Wire {
  /** How many bytes more it takes. */
  room = Infinity;
  taken = Buffer.alloc(0);
  isPaused = false;
  isTerminated = false;

  write(bytes: string | Uint8Array): number {
    if (this.isTerminated) throw new Error("written to after its end");
    const all = typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes;
    const some = all.subarray(0, Math.min(this.room, all.length));
    this.room -= some.length;
    this.taken = Buffer.concat([this.taken, some]);
    return some.length;
  }

  pause(): void {
    if (this.isTerminated) throw new Error("paused after its end");
    this.isPaused = true;
  }

  resume(): void {
    if (this.isTerminated) throw new Error("resumed after its end");
    this.isPaused = false;
  }

  terminate(): void {
    if (this.isTerminated) throw new Error("ended twice");
    this.isTerminated = true;
  }
}

/** A connection on a wire that is none. */
export function fakeConnection(keeper: ConnectionKeeper): {
  connection: Connection;
  wire: FakeWire;
} {
  const wire = new FakeWire();
  return { connection: new Connection(wire, keeper), wire };
}

/** A wire that takes everything, and who keeps its connection. */
export function easyWire(): Wire &
  ConnectionKeeper & { isPaused: boolean; freed: number; ended: number } {
  return {
    isPaused: false,
    freed: 0,
    ended: 0,
    write: (bytes) => bytes.length,
    pause() {
      this.isPaused = true;
    },
    resume() {
      this.isPaused = false;
    },
    terminate() {},
    free() {
      this.freed++;
    },
    gone() {
      this.ended++;
    },
  };
}

/** Lets everything go on that can. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
