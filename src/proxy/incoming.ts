import { ProxyError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import type { Fields } from "../upstream/headers.ts";
import { arrivingBody, checkLength, contentLength, readBody, smallBody } from "./body.ts";

/** A request as it came in, and its body once that has been read. */
export class Incoming {
  readonly request: Request;
  readonly fields: Fields;
  /** All bytes, null while nobody has asked for them. A smaller one may take its place. */
  body: Uint8Array | null = null;
  readonly #runtime: Runtime;

  /**
   * @throws ProxyError `BODY_TOO_LARGE`, or `INVALID_REQUEST` for a body that would be lost
   */
  constructor(request: Request, fields: Fields, runtime: Runtime) {
    this.request = request;
    this.fields = fields;
    this.#runtime = runtime;
    checkLength(fields, this.#maxBody);
    refuseLostBody(request.method, fields);
  }

  /**
   * All bytes of the body, empty where there is none.
   * @throws ProxyError `BODY_TOO_LARGE`; `INVALID_REQUEST` where it stops arriving
   */
  async read(): Promise<Uint8Array> {
    const { arriving } = this.#runtime;
    this.body ??= await readBody(this.request, this.fields, this.#maxBody, arriving);
    return this.body;
  }

  /** Whether a body has not been read that is so small that reading it costs less than passing it on as it comes. */
  get isSmall(): boolean {
    return (
      this.body === null &&
      this.request.body !== null &&
      (contentLength(this.fields) ?? Infinity) <= smallBody
    );
  }

  /** What to send: bytes if they have been read, else a stream that is watched while it arrives. */
  outgoing(): Uint8Array | ReadableStream<Uint8Array> | null {
    if (this.body !== null) return this.body;
    const stream = this.request.body as ReadableStream<Uint8Array> | null;
    return stream && arrivingBody(stream, this.#maxBody, this.#runtime.arriving);
  }

  get #maxBody(): number {
    return this.#runtime.config.server.max_body_size;
  }
}

/**
 * The runtime hands on no body of a GET or HEAD request. Sending it without would ask something else.
 * @throws ProxyError `INVALID_REQUEST`
 */
function refuseLostBody(method: string, fields: Fields): void {
  if (method === "CONNECT") {
    throw new ProxyError(
      "INVALID_REQUEST",
      "CONNECT is for the forward proxy, which has a port of its own (forward_proxy.port).",
    );
  }
  if (method !== "GET" && method !== "HEAD") return;
  if ((contentLength(fields) ?? 0) === 0 && fields["transfer-encoding"] === undefined) return;
  throw new ProxyError(
    "INVALID_REQUEST",
    `A body in a ${method} request cannot be forwarded. Use POST if the API takes it.`,
  );
}
