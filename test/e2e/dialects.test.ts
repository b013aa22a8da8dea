import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { constants, createGzip } from "node:zlib";
import { ask } from "./client.ts";
import type { Folder, Proxy, Window } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import { wires } from "./wires.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** Positions inside every character of more than one byte and inside every `data:`. */
function awkward(bytes: Uint8Array): number[] {
  const label = Buffer.from("data:");
  const cuts = new Set<number>();
  for (let at = 0; at < bytes.length; at++) {
    if (((bytes[at] ?? 0) & 0xc0) === 0x80) cuts.add(at);
    if (label.equals(bytes.subarray(at, at + label.length))) cuts.add(at + 3);
  }
  return [...cuts].toSorted((a, b) => a - b);
}

function everyNth(n: number): (bytes: Uint8Array) => number[] {
  return (bytes) => Array.from({ length: Math.floor(bytes.length / n) }, (_, k) => (k + 1) * n);
}

/** Ways of cutting an answer's bytes into what is sent. */
const cuttings: Readonly<Record<string, (bytes: Uint8Array) => number[]>> = {
  whole: () => [],
  "cut inside characters and names": awkward,
  "in pieces of 37 bytes": everyNth(37),
};

/** Each event compressed and flushed, as servers that stream do. */
async function gzipped(events: readonly string[]): Promise<Uint8Array> {
  const gzip = createGzip();
  const chunks: Uint8Array[] = [];
  gzip.on("data", (bytes: Uint8Array) => void chunks.push(bytes));
  for (const event of events) {
    gzip.write(event);
    await new Promise<void>((resolve) => gzip.flush(constants.Z_SYNC_FLUSH, resolve));
  }
  await new Promise<void>((resolve) => gzip.on("end", resolve).end());
  return Buffer.concat(chunks);
}

/** What the next request gets. */
interface Planned {
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;
  readonly cuts: readonly number[];
}

describe("bytes pass unchanged, and what is used is what the provider counts", () => {
  let next: Planned = { headers: {}, bytes: new Uint8Array(), cuts: [] };
  // One write a piece and a pause after it, so that pieces leave and arrive apart.
  const upstream = createServer((request, response) => {
    request.resume().on("end", async () => {
      const { headers, bytes, cuts } = next;
      response.writeHead(200, headers);
      let from = 0;
      for (const to of [...cuts, bytes.length]) {
        response.write(bytes.subarray(from, to));
        from = to;
        if (cuts.length > 0) await Bun.sleep(1);
      }
      response.end();
    });
  });
  let at: Folder;
  let proxy: Proxy;

  beforeAll(async () => {
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
    const { port } = upstream.address() as AddressInfo;
    at = folder();
    const rows = wires.map(
      ({ provider, limits }, n) =>
        `  - { name: q${n}, domain: q${n}.test, provider: ${provider}, ${limits}, upstream: "http://127.0.0.1:${port}" }`,
    );
    proxy = await startProxy(`quotas:\n${rows.join("\n")}\n`, { at });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    upstream.close();
    at[Symbol.dispose]();
  });

  const usedOf = (windows: readonly Window[], unit: string): number =>
    windows.find((window) => window.unit === unit)?.used ?? Number.NaN;

  test.each(wires.map((wire, n) => [wire.name, wire, n] as const))("%s", async (_, wire, n) => {
    const encodings = {
      identity: Buffer.from(wire.events.join("")),
      gzip: await gzipped(wire.events),
    };
    for (const [encoding, bytes] of Object.entries(encodings)) {
      for (const [how, cut] of Object.entries(cuttings)) {
        const isZipped = encoding === "gzip";
        next = {
          headers: {
            "Content-Type": wire.type,
            ...(isZipped ? { "Content-Encoding": encoding } : {}),
            ...wire.headers,
          },
          bytes,
          cuts: cut(bytes),
        };
        const { windows: before } = await proxy.quota(`q${n}`);
        const answer = await ask(proxy.port, {
          host: `q${n}.test`,
          path: wire.path,
          method: "POST",
          headers: { "Content-Type": "application/json", "Accept-Encoding": "gzip" },
          body: JSON.stringify(wire.request),
        });
        const what = `${encoding}, ${how}`;
        expect([what, answer.status]).toEqual([what, 200]);
        expect(answer.header("content-type")).toBe(wire.type);
        expect([what, Buffer.compare(answer.bytes(), bytes)]).toEqual([what, 0]);
        await until(
          async () => (await proxy.quota(`q${n}`)).windows.every(({ reserved }) => reserved === 0),
          "the call is settled",
        );
        const { windows: after } = await proxy.quota(`q${n}`);
        for (const [unit, expected] of Object.entries(wire.used)) {
          const used = usedOf(after, unit) - usedOf(before, unit);
          expect([what, unit, used]).toEqual([what, unit, expected]);
        }
      }
    }
  });
});
