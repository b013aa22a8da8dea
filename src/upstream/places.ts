import { isIP } from "node:net";
import { proxyAuthorization } from "./dial.ts";
import type { OutgoingProxy } from "./outgoing-proxy.ts";
import { proxyFor } from "./outgoing-proxy.ts";
import type { FreeConnections, Pool } from "./pool.ts";
import { targetOf } from "./request-head.ts";
import type { Endpoint } from "./wire.ts";

/** How connections to the host of a URL are made, and those that are there. */
export interface Place {
  /** Scheme, host and port, as in the URLs that lead here. */
  readonly origin: string;
  /** The value of `Host`. */
  readonly host: string;
  /** Without brackets and the dot at its end. */
  readonly name: string;
  readonly port: number;
  /** Whether `name` is an address. */
  readonly isAddress: boolean;
  /** What is connected to; that of the proxy where that is asked for each request. */
  readonly endpoint: Endpoint;
  /** A proxy between: asked for a tunnel, or for each request; null for none. */
  readonly via: { readonly url: URL; readonly isTunnel: boolean; readonly more: string } | null;
  readonly free: FreeConnections;
}

export interface PlacesOptions {
  readonly pool: Pool;
  readonly proxy: OutgoingProxy | null;
  /** PEM of the authorities trusted; null: the built-in ones. */
  readonly ca: readonly string[] | null;
}

/** More places are not remembered: whoever may name hosts may name any number. */
const mostPlaces = 10_000;

/** The places that URLs lead to. */
export class Places {
  readonly #options: PlacesOptions;
  readonly #known = new Map<string, Place>();

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /**
   * Where a URL leads.
   * @throws TypeError where it is no http(s) URL
   */
  of(url: string): Place {
    const origin = originOf(url);
    return this.#known.get(origin) ?? this.#add(origin, this.#make(origin));
  }

  /** The same place, by one of its addresses. */
  at(place: Place, address: string): Place {
    const key = `${place.origin} ${address}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const { endpoint } = place;
    const pinned = { ...endpoint, hostname: address };
    return this.#add(key, { ...place, endpoint: pinned, free: this.#options.pool.place() });
  }

  #add(key: string, place: Place): Place {
    const [oldest] = this.#known.size < mostPlaces ? [] : this.#known.keys();
    if (oldest !== undefined) {
      const old = this.#known.get(oldest);
      if (old !== undefined) this.#options.pool.forget(old.free);
      this.#known.delete(oldest);
    }
    this.#known.set(key, place);
    return place;
  }

  #make(origin: string): Place {
    const { pool, proxy, ca } = this.#options;
    const url = new URL(origin);
    const { protocol, host } = url;
    if (protocol !== "http:" && protocol !== "https:") throw new TypeError("No http(s) URL.");
    const isTls = protocol === "https:";
    const name = nameOf(url);
    const isAddress = isIP(name) !== 0;
    const port = portOf(url);
    const through = proxyFor(proxy, origin);
    const tls = (hostname: string): Endpoint["tls"] => ({
      serverName: isIP(hostname) === 0 ? hostname : null,
      ca,
    });
    const common = { origin, host, name, port, isAddress, free: pool.place() };
    if (through === null || isTls) {
      const endpoint = { hostname: name, port, tls: isTls ? tls(name) : null };
      const via = through === null ? null : { url: through, isTunnel: true, more: "" };
      return { ...common, endpoint, via };
    }
    const hop = nameOf(through);
    return {
      ...common,
      endpoint: {
        hostname: hop,
        port: portOf(through),
        tls: through.protocol === "https:" ? tls(hop) : null,
      },
      via: { url: through, isTunnel: false, more: proxyAuthorization(through) },
    };
  }
}

/** How a URL that leads to `place` is written in the first line of a request on its connections. */
export function targetAt({ origin, host, via }: Place, url: string): string {
  const target = targetOf(url, origin.length);
  return via === null || via.isTunnel ? target : `http://${host}${target}`;
}

/** Scheme, host and port of an absolute URL, as they are written in it. */
export function originOf(url: string): string {
  let end = url.indexOf("://") + 3;
  while (end < url.length && !endsOrigin(url.charCodeAt(end))) end++;
  return url.slice(0, end);
}

/** Whether it is one of `/?#`. */
function endsOrigin(code: number): boolean {
  return code === 0x2f || code === 0x3f || code === 0x23;
}

function nameOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$|\.$/g, "");
}

function portOf({ protocol, port }: URL): number {
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
}
