import { expect, test } from "bun:test";
import { HeaderFields } from "../../src/header-fields.ts";
import { fieldsOf, requestHeaders, stripResponseHeaders } from "../../src/upstream/headers.ts";

type Pairs = [string, string][];

/** Headers as a parser gives them. */
function of(pairs: Pairs): HeaderFields {
  const headers = new HeaderFields();
  for (const [name, value] of pairs) headers.append(name.toLowerCase(), value);
  return headers;
}

test.each<[string, Pairs, Pairs]>([
  [
    "hop-by-hop headers",
    [
      ["Connection", "keep-alive"],
      ["Keep-Alive", "timeout=5"],
      ["Proxy-Connection", "x"],
      ["Proxy-Authorization", "x"],
      ["Proxy-Authenticate", "x"],
      ["TE", "trailers"],
      ["Trailer", "x"],
      ["Transfer-Encoding", "chunked"],
      ["Upgrade", "h2c"],
      ["X-A", "1"],
    ],
    [["x-a", "1"]],
  ],
  [
    "those that Connection names, in any case",
    [
      ["Connection", "close, X-Secret ,, @@ x, x-B"],
      ["X-Secret", "1"],
      ["X-B", "1"],
      ["X-C", "1"],
    ],
    [["x-c", "1"]],
  ],
  [
    "our own",
    [
      ["X-Cooldown-Priority", "low"],
      ["x-cooldown-anything", "1"],
      ["X-Cooldownx", "kept"],
    ],
    [["x-cooldownx", "kept"]],
  ],
  [
    "Host",
    [
      ["Host", "a"],
      ["Authorization", "Bearer x"],
    ],
    [["authorization", "Bearer x"]],
  ],
  [
    "and nothing else",
    [
      ["Content-Encoding", "gzip"],
      ["X-Twice", "1"],
      ["X-Twice", "2"],
      ["Cookie", "a=1"],
    ],
    [
      ["content-encoding", "gzip"],
      ["cookie", "a=1"],
      ["x-twice", "1, 2"],
    ],
  ],
])("takes out %s", (_, given, left) => {
  const request = requestHeaders(fieldsOf(new Headers([...given, ["user-agent", "x"]])));
  expect({ ...request.fields }).toEqual({ ...Object.fromEntries(left), "user-agent": "x" });
  const response = of(given);
  stripResponseHeaders(response);
  expect({ ...response.fields }).toEqual(Object.fromEntries(left));
});

test("of an answer's two ways to say where its body ends, the length goes", () => {
  const headers = of([
    ["content-length", "2"],
    ["transfer-encoding", "gzip, chunked"],
    ["x-a", "1"],
  ]);
  stripResponseHeaders(headers);
  expect({ ...headers.fields }).toEqual({ "x-a": "1" });
  const plain = of([["content-length", "2"]]);
  stripResponseHeaders(plain);
  expect(plain.get("content-length")).toBe("2");
});

test("two Set-Cookie stay two", () => {
  const headers = of([
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2; Expires=Mon, 01 Jan 2035 00:00:00 GMT"],
    ["connection", "close"],
  ]);
  stripResponseHeaders(headers);
  expect(headers.getSetCookie()).toEqual(["a=1", "b=2; Expires=Mon, 01 Jan 2035 00:00:00 GMT"]);
});
