import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { RedisServer } from "../../src/ledger/redis-store.ts";
import { makeCertificate } from "../e2e/certificates.ts";
import { until } from "../e2e/program.ts";
import { hasRedis, startRedis } from "./redis-server.ts";

/** What becomes of a connection to `url`: its first answer, or why there is none. */
async function count(url: string, authorities: readonly string[] | null): Promise<unknown> {
  const store = new RedisServer(url, "x:", systemClock(), authorities);
  const untold = store.reason;
  const answer = Promise.withResolvers<number | null>();
  store.onConnect = () => store.pulse("one", answer.resolve);
  store.open();
  try {
    const isRefused = () => !store.isConnected && store.reason !== untold;
    const refused = until(isRefused, "an answer").then(() => store.reason);
    return await Promise.race([answer.promise, refused]);
  } finally {
    await store.close();
  }
}

// Without redis-server there is nothing to connect to.
test.skipIf(!hasRedis)(
  "a server's certificate is believed by authorities that are given",
  async () => {
    const certificate = makeCertificate("redis");
    const server = await startRedis(certificate);
    try {
      expect(await count(server.url, [certificate.cert])).toBe(1);
      expect(await count(server.url, null)).toContain("certificate");
    } finally {
      await server.stop();
    }
  },
);

test.skipIf(!hasRedis)("authorities do not make a connection without TLS one with it", async () => {
  const server = await startRedis();
  try {
    expect(await count(server.url, [makeCertificate("redis").cert])).toBe(1);
  } finally {
    await server.stop();
  }
});

test.skipIf(!hasRedis)(
  "what may be wrong with a server that was reached is that it is silent",
  async () => {
    const server = await startRedis();
    const store = new RedisServer(server.url, "x:", systemClock());
    try {
      const connected = new Promise<void>((resolve) => (store.onConnect = resolve));
      store.open();
      await connected;
      expect(store.reason).toBe("it does not answer");
    } finally {
      await store.close();
      await server.stop();
    }
  },
);
