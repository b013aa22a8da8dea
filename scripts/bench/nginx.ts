import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Program } from "./program.ts";
import { freePort, programAt } from "./program.ts";

/** nginx with `limit_req` and kept connections to `upstream`, as one process, its files in `folder`. */
export async function startNginx(folder: string, upstream: string): Promise<Program> {
  const port = freePort();
  const home = join(folder, "nginx");
  mkdirSync(home);
  const config = join(home, "nginx.conf");
  writeFileSync(
    config,
    `daemon off;
master_process off;
pid ${home}/pid;
error_log ${home}/error.log;
events { worker_connections 1024; }
http {
  access_log ${home}/access.log;
  keepalive_requests 1000000000;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  fastcgi_temp_path ${home}/fastcgi;
  uwsgi_temp_path ${home}/uwsgi;
  scgi_temp_path ${home}/scgi;
  limit_req_zone $host zone=all:1m rate=100000r/s;
  upstream api { server ${new URL(upstream).host}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      limit_req zone=all burst=10000 nodelay;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass http://api;
    }
  }
}
`,
  );
  const child = Bun.spawn(["nginx", "-c", config, "-p", home], {
    stdout: "ignore",
    stderr: "ignore",
  });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries++) {
    try {
      await fetch(url);
      return programAt(url, child);
    } catch {
      if (child.exitCode !== null) break;
      await Bun.sleep(20);
    }
  }
  child.kill("SIGKILL");
  throw new Error("nginx did not start.");
}
