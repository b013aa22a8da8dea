import { createPrivateKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { ServerConfig } from "../config/schema.ts";
import { watchConfig } from "../config/watch.ts";
import { UsageError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { certificateIn, readPem } from "../upstream/certificate.ts";

/** A certificate chain and its private key, PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/**
 * The certificate that the server shows, null where it speaks plain HTTP.
 * @throws UsageError if a file cannot be read, or the two are not a certificate and its key
 */
export function readCertificate({ proto, tls }: ServerConfig): Certificate | null {
  if (proto === "http" || tls.cert === null || tls.key === null) return null;
  const cert = readPem("server.tls.cert", tls.cert);
  const key = readPem("server.tls.key", tls.key);
  // Said here, because the runtime would only say which routine of its TLS library failed.
  const certificate = certificateIn(cert);
  if (certificate === null) {
    throw new UsageError(`server.tls.cert: ${tls.cert} has no certificate in PEM form`);
  }
  const privateKey = privateKeyIn(key);
  if (privateKey === null) {
    throw new UsageError(
      `server.tls.key: ${tls.key} has no private key in PEM form that is readable without a passphrase`,
    );
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new UsageError(
      `server.tls.key: ${tls.key} is not the key of the certificate in ${tls.cert}`,
    );
  }
  return { cert, key };
}

function privateKeyIn(pem: string): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    return null;
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
