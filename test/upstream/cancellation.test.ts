import { describe, expect, test } from "bun:test";
import { Cancellation } from "../../src/upstream/cancellation.ts";

describe("a call", () => {
  test("is ended once, with the first reason", () => {
    const call = new Cancellation();
    let runs = 0;
    call.tell({ cancelled: () => void runs++ });
    expect([call.aborted, call.reason]).toEqual([false, undefined]);
    expect(() => call.throwIfAborted()).not.toThrow();
    const why = new Error("why");
    call.abort(why);
    call.abort(new Error("another"));
    expect([call.aborted, call.reason, runs]).toEqual([true, why, 1]);
    expect(() => call.throwIfAborted()).toThrow(why);
  });

  test("that is ended without a reason has one all the same", () => {
    const call = new Cancellation();
    call.abort();
    expect(call.reason).toMatchObject({ name: "AbortError" });
  });

  test("that is ended for null is ended", () => {
    const call = new Cancellation();
    call.abort(null);
    expect([call.aborted, call.reason]).toEqual([true, null]);
  });

  test("is in one place at a time: the last that asks is told, the reason at hand", () => {
    const call = new Cancellation();
    const told: unknown[] = [];
    call.tell({ cancelled: () => void told.push("first") });
    call.tell({ cancelled: () => void told.push(call.reason) });
    call.abort("why");
    expect(told).toEqual(["why"]);
  });

  test("is nowhere once its place says so", () => {
    const call = new Cancellation();
    call.tell({ cancelled: () => expect.unreachable() });
    call.tell(null);
    call.abort();
    call.tell(null);
  });

  test("that has been ended tells whoever comes after", () => {
    const call = new Cancellation();
    call.abort("why");
    const told: unknown[] = [];
    call.tell({ cancelled: () => void told.push(call.reason) });
    expect(told).toEqual(["why"]);
  });

  test("that its end ends again ends once", () => {
    const call = new Cancellation();
    let runs = 0;
    call.tell({
      cancelled() {
        runs++;
        call.abort("again");
      },
    });
    call.abort("why");
    expect([runs, call.reason]).toEqual([1, "why"]);
  });
});

describe.each([
  ["before", true],
  ["after", false],
])("a signal asked for %s the end", (_, isBefore) => {
  test("is the same one each time, and aborted with the same reason", () => {
    const call = new Cancellation();
    const early = isBefore ? call.signal : null;
    expect(early?.aborted ?? false).toBe(false);
    const why = new Error("why");
    call.abort(why);
    const { signal } = call;
    if (early !== null) expect(signal).toBe(early);
    expect(call.signal).toBe(signal);
    expect([signal.aborted, signal.reason]).toEqual([true, why]);
  });
});
