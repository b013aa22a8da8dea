import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import * as selfSigned from "../upstream/self-signed.ts";
import type { ForwardProxy } from "./tunnel-proxy.ts";
import { forwardProxy } from "./tunnel-proxy.ts";

/** Programs as people use them; each must be there, a missing one is a failure of the machine that tests. */
let folder: string;
let secure: Bun.Server<undefined>;
let plain: Bun.Server<undefined>;
let proxy: ForwardProxy;
const body = "x".repeat(1_000_000);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "cooldown-clients-"));
  writeFileSync(join(folder, "ca.pem"), selfSigned.cert);
  await makeRepository();
  const serve = (tls: object): Bun.Server<undefined> =>
    Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      ...tls,
      async fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname.startsWith("/repo.git/")) return repositoryFile(pathname);
        if (request.method === "POST") return new Response(await request.text());
        return new Response(body, { headers: { "x-path": pathname } });
      },
    });
  secure = serve({ tls: { cert: selfSigned.cert, key: selfSigned.key } });
  plain = serve({});
  proxy = await forwardProxy();
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await Promise.all([secure.stop(true), plain.stop(true)]);
  rmSync(folder, { recursive: true, force: true });
});

/** Whether a client is not on this machine; continuous integration installs them all. */
function missing(...programs: readonly string[]): boolean {
  return programs.some((program) => Bun.which(program) === null);
}

/** A repository as any file server can serve it. */
async function makeRepository(): Promise<void> {
  if (missing("git")) return;
  const git = (...args: string[]) =>
    run(["git", "-c", "user.name=A", "-c", "user.email=a@b.test", ...args]);
  const work = join(folder, "work");
  await git("init", "-q", work);
  writeFileSync(join(work, "file.txt"), body);
  await git("-C", work, "add", ".");
  await git("-C", work, "commit", "-qm", "one");
  await git("clone", "-q", "--bare", work, join(folder, "repo.git"));
  await git("-C", join(folder, "repo.git"), "update-server-info");
}

function repositoryFile(path: string): Response {
  try {
    return new Response(readFileSync(join(folder, normalize(path))));
  } catch {
    return new Response("none", { status: 404 });
  }
}

async function run(command: string[], env: Record<string, string> = {}): Promise<string> {
  const child = Bun.spawn(command, {
    cwd: folder,
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: process.env["HOME"] ?? folder,
      GIT_CONFIG_GLOBAL: "/dev/null",
      ...env,
    },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`${command[0]}: ${err}`);
  return out;
}

const through = (): Record<string, string> => ({ http_proxy: proxy.url, https_proxy: proxy.url });
const urls = (): [string, string] => [
  `https://localhost:${secure.port}`,
  `http://localhost:${plain.port}`,
];
/** How many tunnels and requests the proxy has seen. */
const seen = (): number => proxy.handled.length + proxy.callers.length;

describe.each([0, 1] as const)("through %p (0: CONNECT, 1: absolute-form)", (which) => {
  const base = (): string => urls()[which] ?? "";

  test.skipIf(missing("curl"))("curl", async () => {
    const before = seen();
    const curl = ["curl", "-sS", "--cacert", "ca.pem"];
    expect(await run([...curl, `${base()}/a`], through())).toBe(body);
    expect(
      await run(
        [
          ...curl,
          "--data-binary",
          "@-",
          `${base()}/a`,
          "-H",
          "Expect: 100-continue",
          "-d",
          "posted",
        ],
        through(),
      ),
    ).toContain("posted");
    expect(seen()).toBe(before + 2);
  });

  test.skipIf(missing("python3"))("python3 urllib", async () => {
    const before = seen();
    const script = `
import urllib.request, ssl, sys
context = ssl.create_default_context(cafile="ca.pem")
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
print(len(opener.open(sys.argv[1] + "/a").read()), opener.open(sys.argv[1] + "/a", data=b"posted").read().decode())`;
    expect(await run(["python3", "-c", script, base()], through())).toBe("1000000 posted\n");
    expect(seen()).toBe(before + 2);
  });

  test.skipIf(missing("node"))("node http", async () => {
    const before = seen();
    const script = `
const http = require("http"), https = require("https"), fs = require("fs");
const proxy = new URL(process.argv[1]), url = new URL(process.argv[2] + "/a");
const read = (response) => { let n = 0; response.on("data", (d) => (n += d.length)).on("end", () => console.log(response.statusCode, n)); };
if (url.protocol === "http:") http.get({ host: proxy.hostname, port: proxy.port, path: url.href, headers: { host: url.host } }, read);
else http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: url.host }).on("connect", (response, socket) => {
  https.get({ createConnection: undefined, socket, agent: false, host: "localhost", path: url.pathname, ca: fs.readFileSync("ca.pem") }, read);
}).end();`;
    expect(await run(["node", "-e", script, proxy.url, base()])).toBe("200 1000000\n");
    expect(seen()).toBe(before + 1);
  });

  test.skipIf(missing("node"))("node's agents, with a connection that is kept", async () => {
    const before = seen();
    const script = `
const http = require("http"), https = require("https"), tls = require("tls"), fs = require("fs");
const proxy = new URL(process.argv[1]), base = process.argv[2], ca = fs.readFileSync("ca.pem");
class Tunnels extends https.Agent {
  createConnection(options, done) {
    const path = options.host + ":" + options.port;
    http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path, headers: { host: path } })
      .on("connect", (_, socket) => done(null, tls.connect({ ...options, socket, servername: options.host })))
      .on("error", done).end();
  }
}
class Absolute extends http.Agent {
  addRequest(request, options) {
    request.path = "http://" + options.host + ":" + options.port + request.path;
    super.addRequest(request, { ...options, host: proxy.hostname, port: proxy.port });
  }
}
const isSecure = base.startsWith("https:");
const agent = isSecure ? new Tunnels({ keepAlive: true, ca }) : new Absolute({ keepAlive: true });
const ask = (method, body) => new Promise((resolve, reject) => {
  const request = (isSecure ? https : http).request(base + "/a", { agent, method }, (answer) => {
    let length = 0;
    answer.on("data", (piece) => (length += piece.length)).on("end", () => resolve(answer.statusCode + " " + length));
  });
  request.on("error", reject).end(body);
});
(async () => {
  console.log(await ask("GET"), await ask("POST", "posted"), await ask("GET"));
  agent.destroy();
})();`;
    expect(await run(["node", "-e", script, proxy.url, base()])).toBe(
      "200 1000000 200 6 200 1000000\n",
    );
    // One tunnel carries them all; absolute-form requests are each one.
    expect(seen()).toBe(before + (which === 0 ? 1 : 3));
  });

  test.skipIf(missing("git"))("git clone", async () => {
    const before = seen();
    const into = join(folder, `clone${which}`);
    await run(["git", "clone", "-q", `${base()}/repo.git`, into], {
      ...through(),
      GIT_SSL_CAINFO: join(folder, "ca.pem"),
    });
    expect(readFileSync(join(into, "file.txt"), "utf8")).toBe(body);
    expect(seen()).toBeGreaterThan(before);
  });
});

test.skipIf(missing("git", "curl"))(
  "git and curl answer the challenge with the key in the proxy's URL",
  async () => {
    const { ProxyError } = await import("../../src/errors.ts");
    await using locked = await forwardProxy(
      {},
      {
        authorise({ fields }) {
          if (fields["x-cooldown-key"] !== "sesame") throw new ProxyError("UNAUTHORIZED", "no key");
          return { id: "key:ci" };
        },
      },
    );
    const env = {
      https_proxy: `http://ci:sesame@127.0.0.1:${locked.port}`,
      GIT_SSL_CAINFO: join(folder, "ca.pem"),
    };
    expect(await run(["curl", "-sS", "--cacert", "ca.pem", urls()[0]], env)).toBe(body);
    expect(await run(["git", "ls-remote", `${urls()[0]}/repo.git`], env)).toContain("HEAD");
    const keyless = run(["curl", "-sS", "--cacert", "ca.pem", urls()[0]], {
      https_proxy: `http://127.0.0.1:${locked.port}`,
    });
    expect(await keyless.catch(String)).toContain("407");
  },
);
