import type { Sending } from "../../src/upstream/connection.ts";
import type { Deadlines } from "../../src/upstream/deadlines.ts";

/** A request for `http://a/b` that nobody watches, with changes; it fails with whatever went wrong. */
export function sendingOf(linger: Deadlines, changes: Partial<Sending> = {}): Sending {
  return {
    target: "/b",
    host: "a",
    more: "",
    linger,
    progressed() {},
    sent() {},
    answered() {},
    failed: (error) => error,
    ...changes,
  };
}
