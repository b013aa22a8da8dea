import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { UsageError } from "../errors.ts";

/**
 * The text of a file that the configuration names under `key`.
 * @throws UsageError if it cannot be read
 */
export function readPem(key: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${key}: ${file} cannot be read: ${reason}`);
  }
}

/** The first certificate in a text of PEM form, null where there is none that can be read. */
export function certificateIn(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}
