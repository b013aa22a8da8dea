import { readFileSync } from "node:fs";
import type { Clock } from "../clock.ts";
import type { ServerConfig } from "../config/schema.ts";
import { watchConfig } from "../config/watch.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../observe/log.ts";

/** A certificate chain and its private key, PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/**
 * The certificate that the server shows, null where it speaks plain HTTP.
 * @throws UsageError if a file cannot be read
 */
export function readCertificate({ proto, tls }: ServerConfig): Certificate | null {
  if (proto === "http" || tls.cert === null || tls.key === null) return null;
  try {
    return { cert: readFileSync(tls.cert, "utf8"), key: readFileSync(tls.key, "utf8") };
  } catch (error) {
    throw new UsageError(`server.tls: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export interface FollowOptions {
  clock: Clock;
  log: Log;
  server: ServerConfig;
  /** The one in use. */
  current: Certificate;
  /** Puts another into use. @throws where it cannot be used; then nothing has changed */
  renew(certificate: Certificate): void;
}

/** A certificate that is kept up to date. */
export interface Followed {
  /** Looks at the files now. */
  reload(this: void): void;
  close(this: void): void;
}

/**
 * Takes a new certificate over when its files change. One that cannot be read or used changes nothing and is logged:
 * certificate and key are two files, so for a moment they may not belong together.
 */
export function followCertificate(options: FollowOptions): Followed {
  const { clock, log, server } = options;
  let { current } = options;
  const reload = (): void => {
    try {
      const next = readCertificate(server);
      if (next === null || (next.cert === current.cert && next.key === current.key)) return;
      options.renew(next);
      current = next;
      log.info("certificate reloaded", { file: server.tls.cert });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.error(`certificate not reloaded, the old one stays in force: ${reason}`);
    }
  };
  const files = [server.tls.cert, server.tls.key].filter((file) => file !== null);
  const watches = files.map((file) => watchConfig(file, reload, { clock }));
  return { reload, close: () => watches.forEach((watch) => watch.close()) };
}
