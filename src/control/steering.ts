import type { Context } from "hono";

import { refuse } from "./refuse.ts";
import type { ControlCaller, ControlSources } from "./sources.ts";

type Asked = Context<{ Bindings: ControlCaller }>;

/** A change of limits is a few numbers, bytes. */
const longestChange = 64 * 1024;

/** `GET /api/limits`. */
export function listLimits(context: Asked, sources: ControlSources): Response {
  return context.json({ limits: sources.limits() });
}

/** `GET /api/limits/{name}`. */
export function showLimit(context: Asked, sources: ControlSources): Response {
  const name = context.req.param("name") ?? "";
  const limit = sources.limits().find((one) => one.name === name);
  return limit === undefined ? noLimit(name, context) : context.json(limit);
}

/** `PATCH /api/limits/{name}`: the body is an object with keys as in the file. */
export async function changeLimit(context: Asked, sources: ControlSources): Promise<Response> {
  const name = context.req.param("name") ?? "";
  const body = await context.req.arrayBuffer();
  const given = body.byteLength > longestChange ? undefined : jsonIn(body);
  if (given === undefined) {
    const message = 'The body must be a JSON object with keys as in the file, such as {"rpm":5}.';
    return refuse(400, "INVALID_REQUEST", message, context.env);
  }
  let change;
  try {
    change = sources.changeLimit(name, given);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const message = `The change cannot be stored, so nothing has changed: ${reason}`;
    return refuse(503, "STORE_UNAVAILABLE", message, context.env, { "retry-after": "1" });
  }
  if (change === null) return noLimit(name, context);
  if ("problem" in change) return refuse(400, "INVALID_REQUEST", change.problem, context.env);
  return context.json(change.limit);
}

/** `GET /api/clients/{id}`. */
export async function showClient(context: Asked, sources: ControlSources): Promise<Response> {
  const id = context.req.param("id") ?? "";
  const client = await sources.client(id);
  return client === null ? noClient(id, context) : context.json(client);
}

/** `DELETE /api/clients/{id}`: what the client has used is forgotten. */
export async function resetClient(context: Asked, sources: ControlSources): Promise<Response> {
  const id = context.req.param("id") ?? "";
  if (!(await sources.resetClient(id))) return noClient(id, context);
  return context.json({ message: "Client reset successfully", id });
}

function noLimit(name: string, { env }: Asked): Response {
  const message = `There is no limit ${JSON.stringify(name)}; GET /api/limits lists them.`;
  return refuse(404, "NOT_FOUND", message, env);
}

function noClient(id: string, { env }: Asked): Response {
  const message =
    `No client ${JSON.stringify(id)} has used any of a limit of its own. ` +
    "Ids are key:<name>, ip:<address>, anon:<first 12 hex of the key's SHA-256> and header:<value>.";
  return refuse(404, "NOT_FOUND", message, env);
}

function jsonIn(body: ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as unknown;
  } catch {
    return undefined;
  }
}
