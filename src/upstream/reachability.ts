import { connect } from "node:net";
import type { Clock } from "../clock.ts";

/** Tells a host that cannot be connected to from one that is only slow to answer. */
export interface Reachability {
  /** Whether a TCP connection to the URL's host comes about within the time set. Never rejects. */
  check(url: string): Promise<boolean>;
}

/**
 * Looks by connecting once and hanging up. Used only for calls that have gone unanswered for half of their connect
 * timeout, and once for all calls to a host that do so at a time: on a host that answers in time it never happens.
 *
 * @param withinMs how long the connection may take; a result also serves others for as long.
 */
export function createReachability(clock: Clock, withinMs: number): Reachability {
  const known = new Map<string, Promise<boolean>>();

  const check = (url: string): Promise<boolean> => {
    const { host, hostname, port, protocol } = new URL(url);
    const key = `${protocol}//${host}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const result = tryToConnect(
      hostname.replace(/^\[|\]$/g, ""),
      Number(port || (protocol === "http:" ? 80 : 443)),
    );
    known.set(key, result);
    void result.then(() => clock.at(clock.now() + withinMs, () => known.delete(key)));
    return result;
  };

  const tryToConnect = (host: string, port: number): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect({ host, port });
      const finish = (reachable: boolean) => () => {
        stop();
        socket.destroy();
        resolve(reachable);
      };
      const stop = clock.at(clock.now() + withinMs, finish(false));
      socket.once("connect", finish(true));
      // Refused and unknown hosts are reported by the call itself, with their reason.
      socket.on("error", finish(true));
    });
  return { check };
}
