import { describe, expect, test } from "bun:test";
import fc from "fast-check";

import { createLog } from "../../src/observe/log.ts";
import type { LogOptions, RequestLine } from "../../src/observe/log.ts";

const line: RequestLine = {
  request_id: "r1",
  client: "key:ci",
  upstream: "api.cerebras.ai",
  method: "POST",
  path: "/v1/chat/completions",
  status: 200,
  model: "llama-3.3-70b",
  tokens_reserved: 1200,
  tokens_charged: 800,
  wait_ms: 12.34567,
  upstream_ms: 100.5,
  total_ms: 150,
  outcome: "ok",
};

function capture(options: Partial<LogOptions> = {}) {
  let text = "";
  let writes = 0;
  const log = createLog({
    level: "info",
    format: "json",
    now: () => Date.UTC(2030, 0, 2, 3, 4, 5, 67),
    write: (part) => {
      text += part;
      writes += 1;
    },
    ...options,
  });
  return {
    log,
    writes: () => writes,
    async lines() {
      await log.flush();
      return text.split("\n").slice(0, -1);
    },
  };
}

describe("JSON lines", () => {
  test("an event has its time, level, message and fields", async () => {
    const { log, lines } = capture();
    log.warn("configuration kept {as is}", {
      file: "config.yaml",
      line: 3,
      cause: new Error("bad value"),
    });
    expect((await lines()).map((text) => JSON.parse(text))).toEqual([
      {
        time: "2030-01-02T03:04:05.067Z",
        level: "warn",
        message: "configuration kept {as is}",
        file: "config.yaml",
        line: 3,
        cause: "bad value",
      },
    ]);
  });

  test("a request line has exactly its fields, times rounded to a microsecond", async () => {
    const { log, lines } = capture();
    const more = { ...line, authorization: "Bearer abcdefgh" };
    log.request(more);
    expect(JSON.parse((await lines())[0] ?? "")).toEqual({
      time: "2030-01-02T03:04:05.067Z",
      level: "info",
      message: "request",
      ...line,
      wait_ms: 12.346,
    });
  });

  test("what does not apply is null", async () => {
    const { log, lines } = capture();
    log.request({
      ...line,
      model: null,
      tokens_reserved: null,
      tokens_charged: null,
      upstream_ms: null,
    });
    expect(JSON.parse((await lines())[0] ?? "")).toMatchObject({
      model: null,
      tokens_charged: null,
      upstream_ms: null,
    });
  });

  test("several logs keep apart", async () => {
    const [one, two] = [capture(), capture()];
    one.log.info("one");
    two.log.info("two");
    expect([(await one.lines()).length, (await two.lines()).length]).toEqual([1, 1]);
  });
});

describe("levels", () => {
  const all = ["debug", "info", "warn", "error"] as const;
  test.each(all.map((level, index) => [level, all.slice(index)] as const))(
    "%s",
    async (level, expected) => {
      const { log, lines } = capture({ level });
      for (const each of all) log[each](each);
      expect((await lines()).map((text) => JSON.parse(text).level)).toEqual([...expected]);
      expect(all.filter((each) => log.enabled(each))).toEqual([...expected]);
    },
  );

  test("can change while running; request lines are info", async () => {
    const { log, lines } = capture({ level: "warn" });
    log.request(line);
    log.setLevel("debug");
    log.request(line);
    log.debug("now");
    expect((await lines()).map((text) => JSON.parse(text).level)).toEqual(["info", "debug"]);
  });
});

describe("pretty lines", () => {
  test("read well, with what applies", async () => {
    const { log, lines } = capture({ format: "pretty" });
    log.info("listening", { url: "http://localhost:8080", note: "two words" });
    log.request(line);
    log.request({
      ...line,
      status: 429,
      model: null,
      tokens_reserved: null,
      upstream_ms: null,
      outcome: "queue_full",
    });
    const [event, request, refused] = await lines();
    expect(event).toMatch(
      /^\d\d:04:05\.067 INFO {2}listening url=http:\/\/localhost:8080 note="two words"$/,
    );
    expect(request).toEndWith(
      "POST /v1/chat/completions 200 upstream=api.cerebras.ai client=key:ci model=llama-3.3-70b " +
        "tokens=800/1200 wait=12.346ms upstream_time=100.5ms total=150ms outcome=ok id=r1",
    );
    expect(refused).toEndWith(
      "429 upstream=api.cerebras.ai client=key:ci wait=12.346ms total=150ms outcome=queue_full id=r1",
    );
  });

  test.each([
    { format: "auto", isTTY: true, noColour: false, json: false, colours: true },
    { format: "auto", isTTY: true, noColour: true, json: false, colours: false },
    { format: "auto", isTTY: false, noColour: false, json: true, colours: false },
    { format: "pretty", isTTY: false, noColour: false, json: false, colours: false },
    { format: "json", isTTY: true, noColour: false, json: true, colours: false },
  ] as const)("%j", async ({ format, isTTY, noColour, json, colours }) => {
    const { log, lines } = capture({ format, isTTY, noColour });
    log.request({ ...line, status: 502 });
    log.error("x");
    const text = (await lines()).join("\n");
    expect(text.startsWith("{")).toBe(json);
    expect(text.includes("\u001b[")).toBe(colours);
  });
});

/** Spelled apart from the program's own list: all controls, line separators, bidirectional overrides. */
const unsafe = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

describe("what a client sends cannot", () => {
  test("forge a line or move the cursor, whatever it is", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "binary" }),
        fc.constantFrom("json", "pretty"),
        async (text, format) => {
          const { log, lines } = capture({ format });
          log.request({ ...line, path: text, model: text, client: text, upstream: text });
          log.info(text, { [text]: text, nested: { text } });
          const written = await lines();
          expect(written).toHaveLength(2);
          expect(written.join("")).not.toMatch(unsafe);
          if (format === "json") for (const each of written) JSON.parse(each);
        },
      ),
    );
  });

  test("put a query into the log", async () => {
    for (const format of ["json", "pretty"] as const) {
      const { log, lines } = capture({ format });
      log.request({ ...line, path: "/v1/models?api_key=hunter2" });
      expect((await lines())[0]).not.toContain("hunter2");
    }
  });
});

test("secrets in events are stars", async () => {
  for (const format of ["json", "pretty"] as const) {
    const { log, lines } = capture({ format });
    log.error("cannot reach http://user:hunter2@proxy:3128/ with Bearer hunter2hunter2", {
      authorization: "hunter2",
      admin_token: "hunter2",
      "x-api-key": ["hunter2"],
      config: { upstream: { api_key: { value: "hunter2" } }, url: "https://a:hunter2@b" },
      cause: new Error("key sk-hunter2hunter2hunter2 refused"),
      tokens: 7,
    });
    const [text] = await lines();
    expect(text).not.toContain("hunter2");
    expect(text).toContain("user:***@proxy:3128");
    expect(text).toMatch(/tokens"?[=:]7/);
  }
});

test("values that JSON does not take leave a line all the same", async () => {
  const { log, lines } = capture();
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  log.info("odd", { cycle, big: 12n, nothing: undefined });
  expect(JSON.parse((await lines())[0] ?? "")).toMatchObject({
    cycle: "[not serialisable]",
    big: "12",
  });
});

test("lines of one turn leave in one write", async () => {
  const { log, writes, lines } = capture();
  for (let count = 0; count < 50; count += 1) log.request(line);
  expect(writes()).toBe(0);
  expect(await lines()).toHaveLength(50);
  expect(writes()).toBe(1);
});
