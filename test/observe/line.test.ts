import { expect, test } from "bun:test";
import fc from "fast-check";
import { jsonFormat } from "../../src/observe/line.ts";
import type { RequestLine } from "../../src/observe/line.ts";

const words = fc.constantFrom("a", 'b"', "ip:127.0.0.1", "é\u202e", "api.test");
const count = fc.option(fc.integer({ min: 0, max: 1e7 }));
const ms = fc.oneof(
  fc.double({ min: 0, max: 1e13, noNaN: true }),
  fc.double({ min: 0, max: 1e4, noNaN: true }),
  fc.integer({ min: 0, max: 10_000 }).map((n) => n / 1_000),
);
const lines: fc.Arbitrary<RequestLine> = fc.record({
  request_id: fc.uuid(),
  client: words,
  upstream: words,
  method: fc.constantFrom("GET", "POST"),
  path: fc.constantFrom("/", "/v1/x", '/"'),
  status: fc.integer({ min: 100, max: 599 }),
  model: fc.option(words),
  tokens_reserved: count,
  tokens_charged: count,
  wait_ms: ms,
  upstream_ms: fc.option(ms),
  total_ms: ms,
  outcome: fc.constantFrom("ok", "aborted"),
});

test("requests' lines say what JSON would, whatever the one before said", () => {
  const rounded = (value: number): number => Math.round(value * 1_000) / 1_000;
  fc.assert(
    fc.property(fc.array(lines, { minLength: 1, maxLength: 5 }), (requests) => {
      const { request: format } = jsonFormat();
      for (const [n, line] of requests.entries()) {
        const time = 1_700_000_000_000 + n * 0.4;
        expect(JSON.parse(format(time, line))).toEqual({
          time: new Date(Math.floor(time)).toISOString(),
          level: "info",
          message: "request",
          ...line,
          wait_ms: rounded(line.wait_ms),
          upstream_ms: line.upstream_ms === null ? null : rounded(line.upstream_ms),
          total_ms: rounded(line.total_ms),
        });
      }
    }),
  );
});
