import { expect, test } from "bun:test";
import { createOutgoingProxy } from "../../src/upstream/outgoing-proxy.ts";
import { Places, targetAt } from "../../src/upstream/places.ts";
import type { PlacesOptions } from "../../src/upstream/places.ts";
import { Pool } from "../../src/upstream/pool.ts";
import { fakeConnection } from "./fake-wire.ts";
import { manualClock } from "./manual-clock.ts";

function setup(more: Partial<PlacesOptions> = {}): Places {
  return new Places({ pool: new Pool(manualClock()), proxy: null, ca: null, ...more });
}

const tls = (serverName: string | null) => ({ serverName, ca: null });

test.each([
  ["http://a.test/x", { hostname: "a.test", port: 80, tls: null }, "a.test"],
  ["http://a.test:8080?x", { hostname: "a.test", port: 8080, tls: null }, "a.test:8080"],
  ["https://a.test", { hostname: "a.test", port: 443, tls: tls("a.test") }, "a.test"],
  ["https://a.test.:1/", { hostname: "a.test", port: 1, tls: tls("a.test") }, "a.test.:1"],
  ["http://[::1]:2/", { hostname: "::1", port: 2, tls: null }, "[::1]:2"],
  ["https://127.0.0.1/", { hostname: "127.0.0.1", port: 443, tls: tls(null) }, "127.0.0.1"],
])("%s leads to its host", (url, endpoint, host) => {
  const place = setup().of(url);
  expect(place).toMatchObject({ endpoint, host, via: null });
});

test.each(["ftp://a.test/", "a.test", "", "http://", "http://a b/", "data:text/plain,x"])(
  "%j leads nowhere",
  (url) => {
    expect(() => setup().of(url)).toThrow(TypeError);
  },
);

test("URLs with one scheme, host and port share connections, others do not", () => {
  const places = setup();
  const place = places.of("http://a.test:80/x");
  for (const url of ["http://a.test:80", "http://a.test:80/y?z", "http://a.test:80#z"])
    expect(places.of(url)).toBe(place);
  const others = ["https://a.test:80/x", "http://a.test:81/x", "http://b.test:80/x"];
  const all = [place, ...others.map((url) => places.of(url))];
  expect(new Set(all.map(({ free }) => free)).size).toBe(all.length);
});

test("an address that was checked shares no connections with the name, nor with another address", () => {
  const places = setup();
  const place = places.of("https://a.test/");
  const [first, second] = [places.at(place, "1.1.1.1"), places.at(place, "2::2")];
  expect(places.at(place, "1.1.1.1")).toBe(first);
  expect(new Set([place.free, first.free, second.free]).size).toBe(3);
  // It is the name that its certificate must be for.
  expect(first.endpoint).toEqual({ hostname: "1.1.1.1", port: 443, tls: tls("a.test") });
  const other = places.of("https://b.test/");
  expect(places.at(other, "1.1.1.1").free).not.toBe(first.free);
});

test("through another proxy, what is safe goes by a tunnel and what is not is asked of it", () => {
  const proxy = createOutgoingProxy("http://u:p@proxy.test:3128", ["direct.test"]);
  const places = setup({ proxy });
  const plain = places.of("http://a.test/");
  const via = { url: proxy?.url, isTunnel: false, more: "Proxy-Authorization: Basic dTpw\r\n" };
  expect(plain).toMatchObject({ endpoint: { hostname: "proxy.test", port: 3128, tls: null } });
  expect(plain.via).toMatchObject(via);
  expect(targetAt(plain, "http://a.test/b?c#d")).toBe("http://a.test/b?c");
  const safe = places.of("https://a.test/");
  expect(safe.endpoint.hostname).toBe("a.test");
  expect(safe.via).toMatchObject({ isTunnel: true, more: "" });
  expect(targetAt(safe, "https://a.test/b?c#d")).toBe("/b?c");
  expect(places.of("http://direct.test/").via).toBe(null);
  const frees = ["http://a.test/", "http://b.test/", "https://a.test/"].map(
    (url) => places.of(url).free,
  );
  expect(new Set(frees).size).toBe(3);
});

test("no more than 10,000 are remembered, and what is forgotten keeps no connection", () => {
  const places = setup();
  const first = places.of("http://0.test/");
  const { connection } = fakeConnection(first.free);
  first.free.free(connection);
  for (let i = 1; i < 10_000; i++) places.of(`http://${i}.test/`);
  expect(places.of("http://0.test/")).toBe(first);
  expect(connection.isOpen).toBe(true);
  places.at(first, "1.1.1.1");
  expect(connection.isOpen).toBe(false);
  expect(places.of("http://0.test/")).not.toBe(first);
});
