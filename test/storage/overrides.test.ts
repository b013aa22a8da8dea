import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { openOverrides, overridesMigration } from "../../src/storage/overrides.ts";

test("what is stored is there again, in place of what was; what cannot be read is left out", () => {
  using database = new Database(":memory:");
  database.run(overridesMigration);
  const store = openOverrides(database);
  expect(store.all()).toEqual([]);
  const one = { name: "a", values: { rpm: 5 }, inFile: { rpm: null } };
  const two = { name: "*.b", values: { request_timeout: 5 }, inFile: { request_timeout: 6 } };
  store.replace([one]);
  store.replace([one, two]);
  expect(openOverrides(database).all()).toEqual([two, one]);
  database.run("UPDATE override SET in_force = '[' WHERE name = 'a'");
  expect(store.all()).toEqual([two]);
  store.replace([]);
  expect(store.all()).toEqual([]);
});
