/** Nginx's status for a client that went away; nobody is there to read it. */
const clientGoneStatus = 499;

/** The answer to a client that has gone. */
export function clientGone(): Response {
  return new Response(null, { status: clientGoneStatus });
}

/**
 * No answer: the connection is closed before the status line. Bun does so for a body that fails before its
 * first byte, and says nothing about it when there is no error to print.
 */
export function closedConnection(): Response {
  return new Response(new ReadableStream({ start: (controller) => controller.error(undefined) }));
}

/** A JSON answer; statuses that allow no body get none. */
export function jsonAnswer(body: string, status: number): Response {
  const hasBody = status !== 204 && status !== 304;
  const headers = { "content-type": "application/json" };
  return new Response(hasBody ? body : null, { status, headers });
}

/** Sets `headers` on `response`, over those that it has. */
export function withHeaders(response: Response, headers: Record<string, string>): Response {
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
  return response;
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
