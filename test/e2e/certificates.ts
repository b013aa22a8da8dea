import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";

/** A certificate for localhost and its key, made now. */
export function makeCertificate(name: string): { cert: string; key: string } {
  const at = mkdtempSync(join(tmpdir(), "cooldown-cert-"));
  const [cert, key] = [join(at, "cert.pem"), join(at, "key.pem")];
  const command =
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 " +
    `-subj /CN=${name} -addext subjectAltName=DNS:localhost -keyout ${key} -out ${cert}`;
  const { exitCode, stderr } = Bun.spawnSync(command.split(" "));
  if (exitCode !== 0) throw new Error(stderr.toString());
  const made = { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  rmSync(at, { recursive: true });
  return made;
}

/** The common name of the certificate that `port` shows. */
export function shownBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}
