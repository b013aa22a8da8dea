import { createHash, timingSafeEqual } from "node:crypto";
import { BlockList, isIP } from "node:net";

import { addressSet, parseAddress } from "../client/address.ts";
import { refuse } from "./refuse.ts";
import type { ControlCaller, ControlSources } from "./sources.ts";

/**
 * Who may use the control routes (contract, section 6).
 *
 * A page of another origin never may, wherever the browser runs: the server listens on the user's own
 * machine, where every page that the user visits can reach it. From another machine the operator's token is
 * needed for all but `/health`. What a proxy on this machine passes on comes from wherever that proxy says.
 *
 * @returns the refusal, or null where the request may go on.
 */
export function guard(
  request: Request,
  caller: ControlCaller,
  sources: ControlSources,
): Response | null {
  const url = new URL(request.url);
  const origin = request.headers.get("origin");
  if (origin !== null && origin !== url.origin) {
    return refuse(
      403,
      "ORIGIN_NOT_ALLOWED",
      "Control routes answer pages of Cooldown's own origin only.",
      caller,
    );
  }
  if (isLocal(request.headers, caller.peer, sources) || url.pathname === "/health") return null;
  const expected = sources.adminToken();
  if (expected === null || expected === "") {
    return refuse(
      403,
      "ADDRESS_NOT_ALLOWED",
      "Control routes are for this machine only, and not through another proxy. Set server.admin_token to use them from another one.",
      caller,
    );
  }
  const given = /^bearer +(\S+) *$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (given !== undefined && sameSecret(given, expected)) return null;
  return refuse(
    401,
    "UNAUTHORIZED",
    "From another machine control routes need `Authorization: Bearer <server.admin_token>`.",
    caller,
    { "www-authenticate": 'Bearer realm="cooldown"' },
  );
}

/**
 * Whether a request is this machine's own: from here, and not through a proxy that has it from elsewhere. One that
 * says nothing cannot be told apart; one that says something counts only if it is trusted and names this machine.
 */
function isLocal(headers: Headers, peer: string | null, sources: ControlSources): boolean {
  if (!isLoopback(peer)) return false;
  if (headers.has("forwarded")) return false;
  const hops = ["x-forwarded-for", "x-real-ip"].flatMap((name) => {
    const value = headers.get(name);
    return value === null ? [] : value.split(",").map((hop) => hop.trim());
  });
  if (hops.length === 0) return true;
  const address = parseAddress(peer ?? "");
  const isTrusted = address !== null && addressSet(sources.trustedProxies())(address);
  return isTrusted && hops.every(isLoopback);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/**
 * Whether `address` is this machine: 127.0.0.0/8 and ::1 in any spelling, IPv4-mapped IPv6 included (a
 * dual-stack socket writes `::ffff:127.0.0.1`). Null and what is no address are not.
 */
export function isLoopback(address: string | null): boolean {
  const family = isIP(address ?? "");
  return (
    address !== null && family !== 0 && loopback.check(address, family === 4 ? "ipv4" : "ipv6")
  );
}

/** Compares digests, so that the time says nothing about the token, its length included. */
function sameSecret(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
