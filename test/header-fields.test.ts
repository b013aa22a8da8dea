import { expect, test } from "bun:test";
import fc from "fast-check";
import { HeaderFields } from "../src/header-fields.ts";

/** In the order of their names. */
function byName(fields: Iterable<[string, string]>): [string, string][] {
  return [...fields].sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
}

test("they are what the runtime's headers are, whatever is done to them", () => {
  const name = fc.constantFrom("a", "b-c", "set-cookie", "__proto__", "constructor", "1");
  const step = fc.record({
    what: fc.constantFrom("set" as const, "append" as const, "append" as const, "delete" as const),
    name,
    value: fc.constantFrom("x", "y, z"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const fields = new HeaderFields();
      const model = new Headers();
      for (const { what, name: key, value } of steps) {
        if (what === "delete") {
          fields.delete(key);
          model.delete(key);
        } else {
          fields[what](key, value);
          model[what](key, value);
        }
      }
      expect([...fields.keys()].sort()).toEqual([...new Set(model.keys())].sort());
      for (const key of ["a", "b-c", "set-cookie", "__proto__", "constructor", "1", "none"]) {
        expect(fields.get(key)).toBe(model.get(key));
        expect(fields.has(key)).toBe(model.has(key));
      }
      expect([...fields.getSetCookie()]).toEqual(model.getSetCookie());
      const made = new Response(null, { headers: fields.toInit() }).headers;
      expect(byName(made)).toEqual(byName(model));
      model.delete("set-cookie");
      expect(byName(Object.entries(fields.fields))).toEqual(byName(model));
    }),
    { numRuns: 300 },
  );
});

test("they are made of fields, without those that have no value", () => {
  const fields = HeaderFields.from({ a: "b", c: undefined, "set-cookie": "d" });
  expect([...fields.keys()]).toEqual(["a", "set-cookie"]);
  expect(fields.getSetCookie()).toEqual(["d"]);
});

test("what every object has is no header", () => {
  const fields = new HeaderFields();
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"])
    expect([fields.get(name), fields.has(name)]).toEqual([null, false]);
});
