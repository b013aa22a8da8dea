/** What stands for a secret wherever one would be shown. */
export const hidden = "***";

/**
 * A URL as it may be shown: the password replaced, or the user where there is no password (a token is often
 * put there). Works on text that is no valid URL too, so that an error message about one gives nothing away.
 */
export function redactUrl(url: string): string {
  return url.replaceAll(/(^|\/\/)([^/?#\s"]+)@/g, (_, slashes: string, login: string) => {
    const colon = login.indexOf(":");
    return colon === -1 ? `${slashes}${hidden}@` : `${slashes}${login.slice(0, colon)}:${hidden}@`;
  });
}

/** A value of the configuration as a message may quote it: short, on one line, without a URL's password. */
export function quote(value: unknown): string {
  if (typeof value === "string") {
    const shown = redactUrl(value);
    return JSON.stringify(shown.length > 60 ? `${shown.slice(0, 57)}...` : shown);
  }
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "a map";
}
