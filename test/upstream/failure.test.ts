import { describe, expect, test } from "bun:test";
import { failureOf } from "../../src/upstream/failure.ts";

describe("a call that fails", () => {
  test.each(["ECONNRESET", "EPIPE", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "ERR_SSL_X", ""])(
    "on a connection may have been counted, whatever the error: %p",
    (code) => {
      const failure = failureOf({ code }, "http://x:1/?secret", { isConnected: true });
      expect(failure.mayHaveLeft).toBe(true);
      expect(failure.message).toStartWith("x:1 ");
      expect(failure.message).not.toContain("secret");
      expect(failureOf({ code }, "http://x:1/").mayHaveLeft).toBe(false);
    },
  );
});
