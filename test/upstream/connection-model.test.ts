import { expect, test } from "bun:test";
import fc from "fast-check";
import { HeaderFields } from "../../src/header-fields.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import type { Connection, ConnectionKeeper } from "../../src/upstream/connection.ts";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import { Pool } from "../../src/upstream/pool.ts";
import { requestHead } from "../../src/upstream/request-head.ts";
import type { Answer, AnswerBody, UpstreamRequest } from "../../src/upstream/upstream.ts";
import { fakeConnection, turn } from "./fake-wire.ts";
import type { FakeWire } from "./fake-wire.ts";
import { manualClock } from "./manual-clock.ts";
import { requestBody } from "./request-body.ts";
import type { RequestKind } from "./request-body.ts";
import { sendingOf } from "./sending.ts";
import { answerParts, plainAnswer, wireAnswer } from "./wire-answers.ts";
import type { AnswerParts, WireAnswer } from "./wire-answers.ts";

/** What a test does next; `which` picks a connection or a call of those there are. */
type Step =
  | { what: "call"; kind: RequestKind; parts: AnswerParts; scale: number; room: number }
  | { what: "accept" | "deliver"; which: number; bytes: number }
  | { what: "hang up"; which: number; code: string | null }
  | { what: "stray" | "abort" | "read" | "cancel"; which: number }
  | { what: "advance"; ms: number };

const which = fc.nat(20);
const bytes = fc.constantFrom(1, 7, 100, 5_000, 70_000, Infinity);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constant("call" as const),
      kind: fc.constantFrom<RequestKind[]>("none", "none", "small", "large", "length", "chunked"),
      parts: answerParts,
      scale: fc.constantFrom(1, 1, 100, 1_000),
      room: fc.constantFrom(0, 50, 100_000, Infinity, Infinity),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      what: fc.constantFrom("accept" as const, "deliver" as const, "deliver" as const),
      which,
      bytes,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("hang up" as const),
      which,
      code: fc.constantFrom(null, "ECONNRESET"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom("stray", "abort", "cancel"), which }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constant("read" as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant("advance" as const),
      ms: fc.constantFrom(5, 20, 70_000),
    }),
  },
);

/** A connection, and the server at its other end. */
class Line {
  readonly wire: FakeWire;
  readonly connection: Connection;
  /** All that is to be sent on it so far. */
  requests = Buffer.alloc(0);
  call: Call | null = null;
  /** How much of the present answer has been delivered. */
  delivered = 0;
  /** Whether bytes that nobody asked for come with the end of the answer. */
  isStray = false;
  isGone = false;

  constructor(keeper: ConnectionKeeper) {
    ({ wire: this.wire, connection: this.connection } = fakeConnection(keeper));
  }

  /** Delivers up to so many bytes of what the server has to say, as the wire would. */
  deliver(most: number): void {
    const { call, wire } = this;
    if (call === null || this.isGone || wire.isPaused) return;
    const { bytes: all, endsByClose } = call.answer;
    const piece = all.subarray(this.delivered, this.delivered + most);
    this.delivered += piece.length;
    const hasMore = this.isStray && !endsByClose && this.delivered === all.length;
    this.connection.received(Buffer.concat(hasMore ? [piece, stray] : [piece]));
    if (hasMore) expect<boolean>(this.isGone).toBe(true);
  }
}

const stray = plainAnswer("not yours", ["X-Call: none"]);

/** A request, and what has become of it. */
class Call {
  readonly id: number;
  readonly request: Buffer;
  readonly answer: WireAnswer;
  readonly line: Line;
  readonly controller = new Cancellation();
  /** Whether something was done to it after which it need not succeed. */
  isDisturbed = false;
  /** Whether its reader wanted no more: then it has no end to look for. */
  isCancelled = false;
  /** How much of its body the server gives. */
  length: number;
  sent = 0;
  settled = 0;
  head: Answer | null = null;
  error: unknown = null;
  read: Uint8Array[] = [];
  isReading = false;
  /** Whether its body has come to its end, whole or not. */
  isOver = false;

  constructor(id: number, request: Buffer, answer: WireAnswer, line: Line) {
    this.id = id;
    this.request = request;
    this.answer = answer;
    this.line = line;
    this.length = answer.body.length;
  }

  answered(head: Answer): void {
    this.settled++;
    this.head = head;
    expect(head.status).toBe(this.answer.status);
    expect(head.headers.get("x-call")).toBe(String(this.id));
    const { body } = head;
    if (body !== null && !(body instanceof Uint8Array)) return;
    if (body !== null) this.read.push(body);
    this.isOver = true;
  }

  failed(error: unknown): void {
    this.settled++;
    this.error = error;
    this.isOver = true;
  }

  /** Reads its body: a piece, or all of them as they come. */
  readOn(): void {
    const body = this.head?.body ?? null;
    if (body === null || body instanceof Uint8Array || this.isReading || this.isOver) return;
    this.isReading = true;
    void this.#read(body);
  }

  async #read(body: AnswerBody): Promise<void> {
    try {
      let isLast = true;
      if (this.id % 2 === 0) await body.each((piece) => void this.read.push(piece));
      else {
        const piece = await body.read();
        isLast = piece === null;
        if (piece !== null) this.read.push(piece);
      }
      this.isOver = isLast;
    } catch (error) {
      this.isOver = true;
      this.error = error;
    }
    this.isReading = false;
  }
}

class World {
  readonly clock = manualClock();
  readonly pool = new Pool(this.clock);
  readonly place = this.pool.place();
  readonly linger = createDeadlines(this.clock, 20);
  readonly lines: Line[] = [];
  readonly calls: Call[] = [];
  /** What must not have been: whoever it is thrown at may take it for a failure of the call. */
  readonly faults: unknown[] = [];
  readonly keeper: ConnectionKeeper = {
    free: (connection) => {
      const line = this.lineOf(connection);
      this.must(() => this.freed(line));
      line.call = null;
      this.place.free(connection);
    },
    gone: (connection) => {
      const line = this.lineOf(connection);
      this.must(() => expect(line.isGone).toBe(false));
      line.isGone = true;
      this.place.gone(connection);
    },
  };

  must(hold: () => void): void {
    try {
      hold();
    } catch (fault) {
      this.faults.push(fault);
    }
  }

  freed({ call, wire, requests, delivered, isGone, isStray }: Line): void {
    expect({ isGone, isStray, isPaused: wire.isPaused }).toEqual({
      isGone: false,
      isStray: false,
      isPaused: false,
    });
    expect(wire.taken.length).toBe(requests.length);
    expect(call?.sent).toBe(1);
    expect(call?.answer.isKept).toBe(true);
    expect(delivered).toBe(call?.answer.bytes.length ?? -1);
  }

  lineOf(connection: Connection): Line {
    return this.lines.find((line) => line.connection === connection)!;
  }

  open(): Line {
    const line = new Line(this.keeper);
    this.lines.push(line);
    return line;
  }

  call({ kind, parts, scale, room }: Extract<Step, { what: "call" }>): void {
    const id = this.calls.length + 1;
    const kept = this.place.take(Infinity);
    const line = kept === null ? this.open() : this.lineOf(kept);
    const answer = wireAnswer({
      ...parts,
      chunks: parts.chunks.map((one) => one * scale),
      body: Uint8Array.from({ length: parts.body.length * scale }, (_, at) => (at % 251) + id),
      fields: [...parts.fields, `X-Call: ${id}`],
    });
    const { body, framing, coded } = requestBody(kind, id);
    const headers = new HeaderFields();
    if (kind === "length") headers.set("content-length", String(framing));
    const target = { target: `/${id}`, host: "a" };
    const head = requestHead(answer.method, target, headers, framing);
    const call = new Call(id, Buffer.concat([Buffer.from(head), coded]), answer, line);
    this.calls.push(call);
    line.requests = Buffer.concat([line.requests, call.request]);
    line.call = call;
    line.delivered = 0;
    line.wire.room = room;
    const request: UpstreamRequest = {
      url: `http://a/${id}`,
      method: answer.method,
      headers,
      body,
      controller: call.controller,
    };
    const sent = (): void => {
      call.sent++;
      this.must(() => {
        expect(line.call === call).toBe(true);
        expect(line.wire.taken.length).toBe(line.requests.length);
      });
    };
    line.connection.send(request, sendingOf(this.linger, { ...target, sent })).then(
      (head_) => call.answered(head_),
      (error: unknown) => call.failed(error),
    );
  }

  run(next: Step): void {
    if (next.what === "call") return this.call(next);
    if (next.what === "advance") return this.clock.advance(next.ms);
    const line = this.lines[next.which % this.lines.length];
    const call = this.calls[next.which % this.calls.length];
    if (line === undefined || call === undefined) return;
    if (next.what === "accept") this.accept(line, next.bytes);
    else if (next.what === "deliver") line.deliver(next.bytes);
    else if (next.what === "hang up") this.hangUp(line, next.code);
    else if (next.what === "stray") this.stray(line);
    else if (next.what === "read") call.readOn();
    else {
      call.isDisturbed = true;
      const body = call.head?.body ?? null;
      if (next.what === "abort") call.controller.abort(new Error(`abort ${call.id}`));
      else if (body !== null && !(body instanceof Uint8Array)) {
        call.isCancelled = true;
        body.cancel();
      }
    }
  }

  accept({ wire, connection, isGone }: Line, more: number): void {
    if (isGone) return;
    wire.room += more;
    connection.drained();
  }

  hangUp(line: Line, code: string | null): void {
    if (line.isGone) return;
    const { call } = line;
    if (call !== null) {
      const length = line.delivered - call.answer.headLength;
      // The end of the connection is that of the body, wherever it comes.
      if (code === null && call.answer.endsByClose && length >= 0) call.length = length;
      else call.isDisturbed = true;
    }
    line.connection.closed(code);
    expect<boolean>(line.isGone).toBe(true);
  }

  stray(line: Line): void {
    if (line.isGone) return;
    if (line.call !== null) return void (line.isStray = true);
    line.connection.received(Buffer.from(stray));
    expect<boolean>(line.isGone).toBe(true);
  }

  /** Everything that is still to come does. */
  async finish(): Promise<void> {
    for (let i = 0; i < 1_000 && this.calls.some(({ isOver }) => !isOver); i++) {
      for (const line of this.lines) {
        this.accept(line, Infinity);
        line.deliver(Infinity);
        const { call } = line;
        if (call?.answer.endsByClose === true && line.delivered === call.answer.bytes.length)
          if (!line.wire.isPaused) this.hangUp(line, null);
      }
      this.clock.advance(20);
      for (const call of this.calls) call.readOn();
      await turn();
    }
  }

  check(): void {
    expect(this.faults).toEqual([]);
    for (const call of this.calls) {
      const { answer, isDisturbed, isCancelled, settled, error, isOver, sent, line } = call;
      expect({ settled, isOver }).toEqual({ settled: 1, isOver: true });
      expect(sent).toBeLessThanOrEqual(1);
      if (!isDisturbed) expect(error).toBe(null);
      const read = Buffer.concat(call.read);
      expect(read.equals(answer.body.subarray(0, read.length))).toBe(true);
      // What is said to be whole is.
      if (error === null && !isCancelled) expect(read.length).toBe(call.length);
      const { taken } = line.wire;
      expect(taken.equals(line.requests.subarray(0, taken.length))).toBe(true);
    }
    for (const line of this.lines) expect(line.call === null || line.isGone).toBe(true);
  }
}

test("whatever happens when, each call gets its own answer or fails, once, and none another's", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 60, size: "max" }),
      async (steps) => {
        const world = new World();
        for (const next of steps) {
          world.run(next);
          await turn();
        }
        await world.finish();
        world.check();
        world.pool.close();
        world.clock.advance(1_000);
        expect(world.clock.timers()).toBe(0);
      },
    ),
    { numRuns: 500 },
  );
});
