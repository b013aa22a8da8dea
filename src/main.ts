import type { Io } from "./cli/io.ts";
import { run } from "./cli/program.ts";

// The runtime's `fetch`, with which the demo asks, would obey these, and they may well point at Cooldown itself.
for (const name of [
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "http_proxy",
  "https_proxy",
  "ALL_PROXY",
  "all_proxy",
]) {
  delete process.env[name];
}

let signals = 0;
const io: Io = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  env: process.env,
  onSignal(stop) {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (signals++ > 0) process.exit(1);
        stop();
      });
    }
  },
  onHangUp: (reload) => void process.on("SIGHUP", reload),
};

process.exit(await run(process.argv.slice(2), io));
