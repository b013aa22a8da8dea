import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { ProxyError } from "../errors.ts";
import { formatHost } from "../routing/host.ts";
import type { Host } from "../routing/host.ts";
import type { Fields } from "../upstream/headers.ts";
import { requestOf, sendAnswer } from "./absolute.ts";
import { Backlog } from "./tunnel-backlog.ts";
import { checkHead, fieldsOfRaw, parseAbsoluteTarget, proxyKey, urlOf } from "./tunnel-head.ts";
import { openTunnel } from "./tunnel-open.ts";
import type { Caller, ForwardOptions, ForwardPolicy } from "./tunnel-options.ts";
import { challenge, endWith, refusal } from "./tunnel-refusal.ts";
import { breakOff } from "./tunnel-relay.ts";

/** Takes what arrives on the forward proxy's port, and knows what is under way. */
export class ForwardDesk<C extends { id: string }> {
  readonly #options: ForwardOptions<C>;
  /** Requests without an answer yet, of each connection that has some. */
  readonly #unanswered = new WeakMap<Duplex, number>();
  readonly #tunnels = new Set<Duplex>();
  readonly #backlog: Backlog;
  readonly #stopping = new AbortController();
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(options: ForwardOptions<C>) {
    this.#options = options;
    this.#backlog = new Backlog(options.clock);
  }

  get running(): number {
    return this.#running;
  }

  get idleMs(): number {
    return this.#options.policy().idleMs;
  }

  idle(): Promise<void> {
    return this.#running === 0
      ? Promise.resolve()
      : new Promise((resolve) => void this.#idle.push(resolve));
  }

  /** The program stops: tunnels in which nothing moves for a while are closed. */
  drain(): void {
    this.#stopping.abort();
  }

  /** Breaks all tunnels off. */
  close(): void {
    for (const socket of this.#tunnels) breakOff(socket);
  }

  /** An absolute-form request. */
  request(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { socket } = incoming;
    this.#begin();
    this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 0) + 1);
    const gone = new AbortController();
    outgoing.once("close", () => {
      this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 1) - 1);
      gone.abort();
      this.#end();
    });
    // Broken connections are seen by the close.
    outgoing.on("error", () => {});
    incoming.on("error", () => {});
    void this.#answer(incoming, outgoing, gone.signal);
  }

  async #answer(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#options;
    const policy = this.#options.policy();
    const caller = callerOf(incoming);
    let host: Host | null = null;
    let answer: Response;
    try {
      refuseBlockedClient(policy, caller);
      checkHead(incoming.method ?? "", incoming.httpVersion, incoming.rawHeaders);
      const absolute = parseAbsoluteTarget(incoming.url ?? "");
      ({ host } = absolute);
      refuseBlockedHost(policy, host);
      refuseWebSocket(caller);
      const request = requestOf(incoming, {
        clock,
        url: urlOf(absolute),
        host: formatHost(host),
        key: caller.fields["x-cooldown-key"] ?? null,
        readMs: policy.readMs,
        signal,
      });
      const handled = await this.#options.handle(request, {
        peer: () => caller.peer,
        hold() {},
        free() {},
      });
      answer = challengeKeyless(handled, caller.fields);
    } catch (error) {
      answer = this.#refuse(incoming, caller, host, error);
    }
    await sendAnswer(answer, outgoing, { clock, writeMs: policy.writeMs });
  }

  /** A CONNECT request; `head` is what came after it. */
  connect(incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    // What follows an error is the close.
    socket.on("error", () => {});
    // Its answer would get mixed up with one that is still to come on this connection.
    if ((this.#unanswered.get(socket) ?? 0) > 0) return void socket.destroy();
    this.#begin();
    this.#tunnels.add(socket);
    socket.once("close", () => this.#tunnels.delete(socket));
    const caller = callerOf(incoming);
    const policy = this.#options.policy();
    const check = (): void => {
      refuseBlockedClient(policy, caller);
      checkHead("CONNECT", incoming.httpVersion, incoming.rawHeaders);
    };
    const { url = "" } = incoming;
    const shared = { backlog: this.#backlog, stopping: this.#stopping.signal };
    void openTunnel({ socket, head, caller, policy, ...shared, check, url }, this.#options)
      .catch(() => socket.destroy())
      .finally(() => this.#end());
  }

  /** Something that is no request. @param code says why, as `node:http` names it */
  malformed(code: string, socket: Duplex): void {
    socket.on("error", () => {});
    // In the midst of another exchange an answer would be taken for a part of that.
    if ((this.#unanswered.get(socket) ?? 0) > 0 || !socket.writable) return void socket.destroy();
    const caller = { peer: peerOf(socket), fields: {} };
    const error = new ProxyError("INVALID_REQUEST", whyOf(code));
    const own = this.#refusal(error, "/", null);
    this.#report(own.id, "", caller, null, error);
    const status = code === "HPE_HEADER_OVERFLOW" ? 431 : own.status;
    endWith(socket, { ...own, status }, this.#options.clock);
  }

  #refuse(incoming: IncomingMessage, caller: Caller, host: Host | null, thrown: unknown): Response {
    const error =
      thrown instanceof ProxyError
        ? thrown
        : new ProxyError("INTERNAL", thrown instanceof Error ? thrown.message : String(thrown));
    const path = /^[a-z]+:\/\/[^/?#]*(\/[^?#]*)/i.exec(incoming.url ?? "")?.[1] ?? "/";
    const own = this.#refusal(error, path, caller.fields["anthropic-version"] ?? null);
    this.#report(own.id, incoming.method ?? "", caller, host, error);
    const headers = new Headers(own.headers);
    // Where a message cannot be trusted to end where it seems to, nothing that follows it is a request.
    if (error.code === "INVALID_REQUEST") headers.set("connection", "close");
    return new Response(own.body, { status: own.status, headers });
  }

  #refusal(error: ProxyError, path: string, anthropicVersion: string | null) {
    const id = crypto.randomUUID();
    const { server } = this.#options;
    return { id, ...refusal({ error, id, server, waitedMs: 0, path, anthropicVersion }) };
  }

  #report(id: string, method: string, caller: Caller, host: Host | null, error: ProxyError): void {
    this.#options.report({
      id,
      method,
      client: caller.peer,
      target: host === null ? null : formatHost(host),
      status: error.status,
      outcome: error.code.toLowerCase(),
      waitedMs: 0,
      connectMs: null,
      totalMs: 0,
      bytesUp: 0,
      bytesDown: 0,
    });
  }

  #begin(): void {
    this.#running++;
  }

  #end(): void {
    if (--this.#running > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }
}

function callerOf({ socket, rawHeaders }: IncomingMessage): Caller {
  const fields = fieldsOfRaw(rawHeaders);
  const key = proxyKey(fields["proxy-authorization"] ?? null);
  return {
    peer: peerOf(socket),
    fields:
      key === null || fields["x-cooldown-key"] !== undefined
        ? fields
        : { ...fields, "x-cooldown-key": key },
  };
}

function peerOf(socket: Duplex): string | null {
  const address: unknown = Reflect.get(socket, "remoteAddress");
  return typeof address === "string" ? address.replace(/^::ffff:(?=\d+\.)/i, "") : null;
}

function refuseBlockedClient({ blocklist }: ForwardPolicy, { peer }: Caller): void {
  if (blocklist.blocksClient(peer)) {
    throw new ProxyError(
      "IP_BLOCKED",
      `Clients at ${peer} are blocked here (forward_proxy.blocked_ips).`,
    );
  }
}

/** @throws ProxyError `DOMAIN_BLOCKED` */
function refuseBlockedHost({ blocklist }: ForwardPolicy, host: Host): void {
  if (blocklist.blocksHost({ name: host.name, port: host.port ?? 80 })) {
    throw new ProxyError(
      "DOMAIN_BLOCKED",
      `${host.name} is blocked here (forward_proxy.blocklist).`,
    );
  }
}

/** @throws ProxyError `INVALID_REQUEST`: without its `Upgrade` it would ask the upstream for something else */
function refuseWebSocket({ fields }: Caller): void {
  if (fields["upgrade"]?.trim().toLowerCase() !== "websocket") return;
  throw new ProxyError(
    "INVALID_REQUEST",
    "A WebSocket goes through a tunnel (CONNECT to its host and port, as clients of a proxy do), or to the main port.",
  );
}

/**
 * Makes the pipeline's 401 a challenge to the client of a proxy where it has shown no key at all. One that has sent
 * a wrong key the API's way is told the API's way.
 */
function challengeKeyless(answer: Response, fields: Fields): Response {
  const isOurs = answer.headers.get("x-cooldown-error") === "UNAUTHORIZED";
  const hasShown = keyFields.some((name) => fields[name] !== undefined);
  if (!isOurs || hasShown) return answer;
  const headers = new Headers(answer.headers);
  headers.set("proxy-authenticate", challenge);
  return new Response(answer.body, { status: 407, headers });
}

const keyFields = ["authorization", "x-api-key", "api-key", "x-goog-api-key"] as const;

function whyOf(code: string): string {
  if (code === "HPE_HEADER_OVERFLOW") return "The request's head is too large.";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "The request's head did not arrive in time.";
  return `The request could not be read${code === "" ? "" : ` (${code.replace("HPE_", "")})`}.`;
}
