import { X509Certificate } from "node:crypto";

/** The first certificate in a text of PEM form, null where there is none that can be read. */
export function certificateIn(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}
