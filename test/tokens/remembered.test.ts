import { describe, expect, test } from "bun:test";
import { Remembered } from "../../src/tokens/remembered.ts";

const remembered = (): Remembered<{ n: number }> =>
  new Remembered({
    make: () => ({ n: 0 }),
    pack: ({ n }) => n,
    unpack: (stored) => (typeof stored === "number" ? { n: stored } : null),
  });

describe("Remembered", () => {
  test("makes a value when it is to be changed, not when it is read", () => {
    const keys = remembered();
    expect(keys.get("a")).toBeUndefined();
    keys.change("a").n = 5;
    expect(keys.get("a")).toEqual({ n: 5 });
  });

  test("tells once which keys have changed; what was restored has not", () => {
    const keys = remembered();
    keys.unpack("old", 1);
    keys.change("a");
    keys.change("b");
    keys.change("a");
    expect([...keys.takeChanged()].sort()).toEqual(["a", "b"]);
    expect([...keys.takeChanged()]).toEqual([]);
    keys.change("a");
    expect([...keys.takeChanged()]).toEqual(["a"]);
  });

  test("is stored and restored, without what makes no sense", () => {
    const keys = remembered();
    keys.change("a").n = 1;
    keys.change("b").n = 2;
    const again = remembered();
    again.restore(JSON.parse(JSON.stringify(keys)));
    expect(again.toJSON()).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
    for (const bad of [null, 3, "x", {}, [3], [["a"]], [["a", "x"]], [[1, 1]]]) again.restore(bad);
    expect(again.toJSON()).toHaveLength(2);
    expect(again.unpack("c", "x")).toBe(false);
    expect(again.pack("c")).toBeUndefined();
  });

  test("keeps 1,000 keys, and the changed ones do not pile up", () => {
    const keys = remembered();
    for (let i = 0; i < 10_000; i++) keys.change(`k${i}`);
    expect(keys.toJSON()).toHaveLength(1000);
    expect(keys.get("k0")).toBeUndefined();
    expect(keys.takeChanged().size).toBeLessThanOrEqual(2000);
  });
});
