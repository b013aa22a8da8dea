import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { textCounter } from "../../src/tokens/bpe.ts";
import {
  answer,
  createRemoteCounter,
  type CountingThread,
  type Question,
  type RemoteCounter,
} from "../../src/tokens/remote.ts";
import { FakeClock } from "../clock.ts";

/** A thread that answers when told to, and records what happens to it. */
class FakeThread implements CountingThread {
  onmessage: CountingThread["onmessage"] = null;
  onerror: CountingThread["onerror"] = null;
  readonly asked: Question[] = [];
  keepsProcess = true;
  terminated = false;
  private closed: () => void = () => {};

  addEventListener(_: "close", heard: () => void): void {
    this.closed = heard;
  }
  postMessage(question: Question): void {
    this.asked.push(question);
  }
  ref(): void {
    this.keepsProcess = true;
  }
  unref(): void {
    this.keepsProcess = false;
  }
  terminate(): void {
    this.terminated = true;
  }
  answerFirst(): void {
    const question = this.asked.shift();
    if (question !== undefined)
      this.onmessage?.(new MessageEvent("message", { data: answer(question) }));
  }
  fail(): void {
    this.onerror?.(new ErrorEvent("error", { cancelable: true }));
  }
  end(): void {
    this.closed();
  }
}

interface Setting {
  readonly clock: FakeClock;
  readonly threads: FakeThread[];
  readonly remote: RemoteCounter;
  /** The thread started last. */
  thread(): FakeThread;
}

function setUp(): Setting {
  const clock = new FakeClock();
  const threads: FakeThread[] = [];
  const start = (): FakeThread => {
    const thread = new FakeThread();
    threads.push(thread);
    return thread;
  };
  return {
    clock,
    threads,
    remote: createRemoteCounter(clock, start),
    thread: () => threads.at(-1)!,
  };
}

describe("a remote counter", () => {
  test("starts its thread with the first question, and keeps the process alive only for an answer", async () => {
    const { remote, threads, thread, clock } = setUp();
    expect(threads).toHaveLength(0);
    const counts = remote.count("o200k", ["Hello", "two words"]);
    expect(thread().keepsProcess).toBe(true);
    thread().answerFirst();
    expect(await counts).toEqual([1, 2]);
    expect(thread().keepsProcess).toBe(false);
    expect(clock.pending).toBe(0);
    const again = remote.count("cl100k", ["Hello"]);
    expect(threads).toHaveLength(1);
    expect(thread().keepsProcess).toBe(true);
    thread().answerFirst();
    expect(await again).toEqual([1]);
  });

  test("is saturated with 64 questions open", () => {
    const { remote, thread } = setUp();
    for (let i = 0; i < 64; i++) void remote.count("o200k", ["x"]);
    expect(remote.available()).toBe(false);
    thread().answerFirst();
    expect(remote.available()).toBe(true);
  });

  test.each([
    ["fails", (thread: FakeThread) => thread.fail()],
    ["ends", (thread: FakeThread) => thread.end()],
  ])(
    "answers null to what was open when the thread %s, and starts another, three in all",
    async (_, die) => {
      const { remote, threads, thread } = setUp();
      for (let started = 1; started <= 3; started++) {
        expect(remote.available()).toBe(true);
        const open = [remote.count("o200k", ["x"]), remote.count("o200k", ["y"])];
        expect(threads).toHaveLength(started);
        die(thread());
        expect(await Promise.all(open)).toEqual([null, null]);
        expect(thread().terminated).toBe(true);
      }
      expect(remote.available()).toBe(false);
      expect(await remote.count("o200k", ["x"])).toBeNull();
      expect(threads).toHaveLength(3);
    },
  );

  test("what a dead thread says late is not heard", async () => {
    const { remote, threads } = setUp();
    const first = remote.count("o200k", ["x"]);
    threads[0]!.fail();
    expect(await first).toBeNull();
    const second = remote.count("o200k", ["x"]);
    threads[0]!.answerFirst();
    threads[0]!.end();
    threads[1]!.answerFirst();
    expect(await second).toEqual([1]);
  });

  test("takes a thread for dead that says nothing for ten seconds", async () => {
    const { remote, thread, clock } = setUp();
    const first = remote.count("o200k", ["x"]);
    const second = remote.count("o200k", ["x"]);
    clock.advance(9_000);
    thread().answerFirst();
    expect(await first).toEqual([1]);
    clock.advance(9_000);
    expect(thread().terminated).toBe(false);
    clock.advance(1_000);
    expect(await second).toBeNull();
    expect(thread().terminated).toBe(true);
  });

  test("answers null where no thread can be had", async () => {
    const remote = createRemoteCounter(new FakeClock(), () => {
      throw new Error("no thread");
    });
    expect(await remote.count("o200k", ["x"])).toBeNull();
  });

  test("closed, it answers null", async () => {
    const { remote, thread } = setUp();
    const open = remote.count("o200k", ["x"]);
    remote.close();
    expect(await open).toBeNull();
    expect(thread().terminated).toBe(true);
    expect(remote.available()).toBe(false);
    expect(await remote.count("o200k", ["x"])).toBeNull();
  });

  test("the real thread counts as this one does", async () => {
    const remote = createRemoteCounter(systemClock());
    const text = "Straße, 東京 and 1,234 words. ".repeat(3000);
    expect(await remote.count("o200k", [text, "Hello"])).toEqual([textCounter("o200k")(text), 1]);
    expect(await remote.count("cl100k", [text])).toEqual([textCounter("cl100k")(text)]);
    remote.close();
  });
});
