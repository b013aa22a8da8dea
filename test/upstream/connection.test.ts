import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ProxyError } from "../../src/errors.ts";
import { HeaderFields } from "../../src/header-fields.ts";
import { UnreadableAnswer } from "../../src/upstream/answer-head.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import { BrokenConnection } from "../../src/upstream/connection.ts";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import type { Answer, AnswerBody, UpstreamRequest } from "../../src/upstream/upstream.ts";
import { reasonOf } from "./reason.ts";
import { sendingOf } from "./sending.ts";
import { bytesOf, textOf } from "./answers.ts";
import { fakeConnection, turn } from "./fake-wire.ts";
import { manualClock } from "./manual-clock.ts";
import { cuts, piecesOf, plainAnswer } from "./wire-answers.ts";

/** A connection whose wire and keeper a test sees. */
function setup() {
  const told: string[] = [];
  const clock = manualClock();
  const linger = createDeadlines(clock, 20);
  const { connection, wire } = fakeConnection({
    free: () => void told.push("free"),
    gone: () => void told.push("gone"),
  });
  const send = (more: Partial<UpstreamRequest> = {}): Promise<Answer> =>
    connection.send(
      {
        url: "http://a/b",
        method: "GET",
        headers: new HeaderFields(),
        body: null,
        controller: new Cancellation(),
        ...more,
      },
      sendingOf(linger, {
        progressed: () => void told.push("progressed"),
        sent: () => void told.push("sent"),
      }),
    );
  const receive = (text: string): void => connection.received(Buffer.from(text, "latin1"));
  return { connection, wire, told, clock, send, receive };
}

function arriving({ body }: Answer): AnswerBody {
  if (body === null || body instanceof Uint8Array) throw new Error("not an arriving body");
  return body;
}

const ok = plainAnswer("ok").toString("latin1");
const begun = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";

describe("a request", () => {
  const bodies: [string, () => UpstreamRequest["body"], string, string][] = [
    ["no body", () => null, "", ""],
    ["an empty body", () => new Uint8Array(), "Content-Length: 0\r\n", ""],
    ["a small body", () => new Uint8Array([1, 255]), "Content-Length: 2\r\n", "\x01\xff"],
    [
      "a large body",
      () => new Uint8Array(70_000).fill(7),
      "Content-Length: 70000\r\n",
      "\x07".repeat(70_000),
    ],
    [
      "a stream",
      () => streamOf(["ab", "", "c".repeat(20)]),
      "Transfer-Encoding: chunked\r\n",
      `2\r\nab\r\n14\r\n${"c".repeat(20)}\r\n0\r\n\r\n`,
    ],
  ];
  test.each(bodies)(
    "with %s goes out the same however the wire takes it, and is then sent",
    async (_, body, framing, coded) => {
      const start = "GET /b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nX: \xe4\r\n";
      const all = `${start}${framing}\r\n${coded}`;
      const rooms = fc.array(fc.constantFrom(0, 1, 3, 40, 1_000, 66_000), { maxLength: 30 });
      await fc.assert(
        fc.asyncProperty(rooms, async (sizes) => {
          const { connection, wire, told, send, receive } = setup();
          wire.room = 0;
          const answer = send({ body: body(), headers: HeaderFields.from({ x: "\xe4" }) });
          for (const size of [...sizes, ...Array(8).fill(Infinity)] as number[]) {
            await turn();
            expect(all.startsWith(wire.taken.toString("latin1"))).toBe(true);
            const isSent = told.includes("sent");
            if (isSent) expect(wire.taken.length).toBe(all.length);
            wire.room += size;
            connection.drained();
          }
          await turn();
          expect(wire.taken.toString("latin1") === all).toBe(true);
          expect(told.filter((one) => one !== "progressed")).toEqual(["sent"]);
          receive(ok);
          expect(await textOf(await answer)).toBe("ok");
          expect(told.at(-1)).toBe("free");
        }),
        { numRuns: 20 },
      );
    },
  );

  test("that cannot be written leaves the connection free, with nothing on it", async () => {
    const { wire, told, send } = setup();
    const headers = HeaderFields.from({ a: "b\r\nc: d" });
    for (const more of [{ headers }, { method: "A B" }])
      expect(await reasonOf(Promise.try(send, more))).toBeInstanceOf(ProxyError);
    expect([wire.taken.length, told]).toEqual([0, ["free", "free"]]);
  });

  test("on a connection that is closed fails at once", async () => {
    const { connection, told, send } = setup();
    connection.close();
    connection.close();
    expect(await reasonOf(Promise.try(send))).toBeInstanceOf(BrokenConnection);
    expect(told).toEqual(["gone"]);
  });

  test("that was aborted before is not sent", async () => {
    for (const body of [null, new Uint8Array(3), streamOf(["a"])]) {
      const { wire, told, send } = setup();
      const controller = new Cancellation();
      controller.abort("why");
      expect(await reasonOf(send({ controller, body }))).toBe("why");
      await turn();
      expect([wire.taken.length, wire.isTerminated, told]).toEqual([0, true, ["gone"]]);
    }
  });

  test.each([
    ["less", ["ab"]],
    ["more", ["abc", "d"]],
    ["nothing", []],
  ])("whose body has %s than it says is none", async (_, pieces) => {
    const { wire, told, send } = setup();
    const headers = HeaderFields.from({ "content-length": "3" });
    const answer = send({ method: "POST", headers, body: streamOf(pieces) });
    expect(await reasonOf(answer)).toHaveProperty("message", expect.stringContaining("as long"));
    expect(wire.isTerminated).toBe(true);
    expect(told).not.toContain("sent");
    expect(told.at(-1)).toBe("gone");
    expect(wire.taken.toString("latin1")).not.toContain("d");
  });

  test("whose body breaks off fails with its reason", async () => {
    const { wire, told, send } = setup();
    const broken = new Error("the client has gone");
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(broken);
      },
    });
    expect(await reasonOf(send({ method: "POST", body }))).toBe(broken);
    expect([wire.isTerminated, told]).toEqual([true, ["gone"]]);
  });

  test.each<[string, (of: ReturnType<typeof setup>) => void]>([
    ["its answer ends", ({ receive }) => receive(ok)],
    ["the server hangs up", ({ connection }) => connection.closed(null)],
    ["what comes is no answer", ({ receive }) => receive("SSH\r\n\r\n")],
  ])("is not read on once %s", async (_, end) => {
    const all = setup();
    let cancelled = 0;
    const body = new ReadableStream<Uint8Array>({ cancel: () => void cancelled++ });
    const answer = all.send({ method: "POST", body });
    answer.catch(() => {});
    await turn();
    end(all);
    await turn();
    expect(cancelled).toBe(1);
    expect(all.told).toEqual(["gone"]);
  });
});

describe("an answer", () => {
  test("that comes in one piece is given whole, and one without a body has none", async () => {
    const { send, receive, told } = setup();
    const first = send();
    receive(ok);
    expect((await first).body).toEqual(Buffer.from("ok"));
    for (const empty of [
      "HTTP/1.1 204 None\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]) {
      const next = send();
      receive(empty);
      expect((await next).body).toBe(null);
    }
    expect(told).toEqual(["sent", "free", "sent", "free", "sent", "free", "sent", "free"]);
  });

  test("that is small is waited for, and not for long", async () => {
    for (const isLate of [false, true]) {
      const { send, receive, clock } = setup();
      let given: Answer | null = null;
      const answer = send().then((one) => (given = one));
      receive(begun);
      await turn();
      clock.advance(19);
      await turn();
      expect(given).toBe(null);
      if (isLate) {
        clock.advance(1);
        await turn();
        expect(given).not.toBe(null);
      }
      receive("cd");
      const whole = await answer;
      expect(whole.body instanceof Uint8Array).toBe(!isLate);
      expect(await textOf(whole)).toBe("abcd");
      clock.advance(1_000);
      expect(clock.timers()).toBe(0);
    }
  });

  test.each([
    ["is large", "Content-Length: 16385"],
    ["is chunked", "Transfer-Encoding: chunked"],
    ["ends with the connection", "A: b"],
  ])("that %s is given on with its head", async (_, line) => {
    const { send, receive } = setup();
    const answer = send();
    receive(`HTTP/1.1 200 OK\r\n${line}\r\n\r\n`);
    expect(arriving(await answer)).toBeDefined();
  });

  test.each<[string, (of: ReturnType<typeof setup>, controller: Cancellation) => void, string]>([
    ["closed", ({ connection }) => connection.closed(null), "closed"],
    ["reset", ({ connection }) => connection.closed("ECONNRESET"), "closed"],
    ["aborted", (_, controller) => controller.abort(new Error("gone")), "gone"],
    ["failed", ({ connection }) => connection.fail(new Error("thrown")), "thrown"],
  ])(
    "that is waited for and %s meanwhile has its head, and a body that breaks off",
    async (_, lose, why) => {
      const all = setup();
      const controller = new Cancellation();
      const answer = all.send({ controller });
      all.receive(begun);
      lose(all, controller);
      const body = arriving(await answer);
      expect(await body.read()).toEqual(Buffer.from("ab"));
      expect(await reasonOf(body.read())).toHaveProperty("message", expect.stringContaining(why));
      all.clock.advance(1_000);
      expect(all.clock.timers()).toBe(0);
      expect(all.told).toEqual(["sent", "gone"]);
    },
  );

  test("that turns into something else has what came before it, and breaks off", async () => {
    const { send, receive, wire } = setup();
    const answer = send();
    receive("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n");
    const body = arriving(await answer);
    expect(await reasonOf(body.each(() => undefined))).toBeInstanceOf(UnreadableAnswer);
    expect(wire.isTerminated).toBe(true);
  });

  test("that ends with the connection is whole where that was no error", async () => {
    for (const code of [null, "ECONNRESET"]) {
      const { send, receive, connection, told } = setup();
      const answer = send();
      receive("HTTP/1.1 200 OK\r\n\r\nab");
      connection.closed(code);
      connection.closed(null);
      const text = textOf(await answer);
      if (code === null) expect(await text).toBe("ab");
      else expect(await reasonOf(text)).toMatchObject({ code });
      expect(told).toEqual(["sent", "gone"]);
    }
  });

  test("that comes before all of its request is whole, and the connection goes to nobody", async () => {
    const { send, receive, wire, told } = setup();
    wire.room = 10;
    const answer = send({ method: "POST", body: new Uint8Array(100) });
    receive(ok);
    expect(await textOf(await answer)).toBe("ok");
    expect([wire.isTerminated, told]).toEqual([true, ["gone"]]);
  });

  test.each(["Connection: close", "Keep-Alive: timeout=0"])(
    "that says %s is the last",
    async (line) => {
      const { send, receive, wire, told } = setup();
      const answer = send();
      receive(plainAnswer("ok", [line]).toString("latin1"));
      expect(await textOf(await answer)).toBe("ok");
      expect([wire.isTerminated, told]).toEqual([true, ["sent", "gone"]]);
    },
  );

  test("with more behind it is whole, and the connection goes to nobody", async () => {
    const behind = plainAnswer("not yours").toString("latin1");
    for (const text of [ok + behind, `${ok}\r\n`, `${ok}H`]) {
      const { send, receive, wire, told } = setup();
      const answer = send();
      receive(text);
      expect(await textOf(await answer)).toBe("ok");
      expect([wire.isTerminated, told]).toEqual([true, ["sent", "gone"]]);
    }
  });

  test("that nobody asked for ends the connection", () => {
    const { receive, wire, told } = setup();
    receive(ok);
    expect([wire.isTerminated, told]).toEqual([true, ["gone"]]);
  });

  test("is read no faster than it is taken, and holds nobody up once it has ended", async () => {
    const { send, receive, wire, told } = setup();
    const answer = send();
    receive("HTTP/1.1 200 OK\r\nContent-Length: 210000\r\n\r\n");
    const body = arriving(await answer);
    receive("a".repeat(70_000));
    expect(wire.isPaused).toBe(true);
    await body.read();
    expect(wire.isPaused).toBe(false);
    receive("a".repeat(60_000));
    receive("a".repeat(80_000));
    expect([wire.isPaused, told]).toEqual([false, ["sent", "free"]]);
    const next = send();
    receive(ok);
    expect(await textOf(await next)).toBe("ok");
    expect((await bytesOf({ ...(await answer) })).length).toBe(140_000);
  });

  test("that is not wanted any more ends the connection, also from within", async () => {
    for (const how of ["cancel", "take", "abort"]) {
      const { send, receive, wire, told } = setup();
      const controller = new Cancellation();
      const answer = send({ controller });
      receive("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n");
      const body = arriving(await answer);
      let taken = 0;
      const all = reasonOf(
        body.each(() => {
          taken++;
          if (how === "take") throw new Error("full");
          if (how === "abort") controller.abort(new Error("gone"));
          else body.cancel();
          return undefined;
        }),
      );
      receive("a".repeat(20_000) + ok);
      expect(await all).toBeInstanceOf(Error);
      expect([taken, wire.isTerminated, told]).toEqual([1, true, ["sent", "gone"]]);
    }
  });
});

test("a loss says whether the connection may have been closed before the request came", async () => {
  const interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
  const lost = async (isUsed: boolean, came: string, code: string | null): Promise<unknown> => {
    const { connection, send, receive } = setup();
    if (isUsed) {
      const first = send();
      receive(ok);
      await first;
    }
    const answer = send();
    if (came !== "") receive(came);
    connection.closed(code);
    return reasonOf(answer);
  };
  for (const code of [null, "ECONNRESET", "EPIPE"]) {
    const expected = code ?? "ECONNRESET";
    expect(await lost(true, "", code)).toMatchObject({ code: expected, wasStale: true });
    expect(await lost(false, "", code)).toMatchObject({ code: expected, wasStale: false });
    expect(await lost(true, "H", code)).toMatchObject({ code: expected, wasStale: false });
    expect(await lost(true, interim, code)).toMatchObject({ code: expected, wasStale: false });
  }
});

test("answers follow one another on a connection however they are cut", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(cuts, { minLength: 2, maxLength: 4 }), async (all) => {
      const { connection, send, told } = setup();
      for (const [i, sizes] of all.entries()) {
        const answer = send();
        const text = String(i).repeat(10 ** (i + 1));
        for (const piece of piecesOf(plainAnswer(text), sizes)) connection.received(piece);
        expect(await textOf(await answer)).toBe(text);
      }
      expect(told).toEqual(all.flatMap(() => ["sent", "free"]));
    }),
    { numRuns: 50 },
  );
});

function streamOf(pieces: readonly string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(Buffer.from(piece));
      controller.close();
    },
  });
}
