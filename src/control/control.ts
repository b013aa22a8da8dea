import { Hono } from "hono";
import type { Context } from "hono";

import { flatMetrics } from "../observe/stats.ts";
import { guard } from "./guard.ts";
import { refuse } from "./refuse.ts";
import { changeLimit, listLimits, resetClient, showClient, showLimit } from "./steering.ts";
import type { ControlCaller, ControlSources } from "./sources.ts";

interface Env {
  Bindings: ControlCaller;
}

/** The control routes, to be asked only for requests whose Host is Cooldown itself. */
export interface Control {
  fetch(request: Request, caller: ControlCaller): Response | Promise<Response>;
}

type Handler = (context: Context<Env>, sources: ControlSources) => Response | Promise<Response>;

/** Path, method, handler: a route is a row. HEAD goes with GET, and other methods get 405 with `Allow`. */
const routes: readonly { path: string; method: "GET" | "PATCH" | "DELETE"; handle: Handler }[] = [
  { path: "/health", method: "GET", handle: health },
  { path: "/stats", method: "GET", handle: (context, sources) => context.json(sources.stats()) },
  { path: "/metrics", method: "GET", handle: metrics },
  { path: "/cache", method: "DELETE", handle: clearCache },
  { path: "/api/limits", method: "GET", handle: listLimits },
  { path: "/api/limits/:name", method: "GET", handle: showLimit },
  { path: "/api/limits/:name", method: "PATCH", handle: changeLimit },
  { path: "/api/clients/:id", method: "GET", handle: showClient },
  { path: "/api/clients/:id", method: "DELETE", handle: resetClient },
];

/** What a person may look at, for who has come to the wrong place. */
const shownPaths = [
  ...new Set(
    routes
      .filter(({ path, method }) => method === "GET" && !path.includes(":"))
      .map(({ path }) => path),
  ),
].join(", ");

/** Makes the control routes over what the running program knows about itself. */
export function createControl(sources: ControlSources): Control {
  const app = new Hono<Env>();
  app.use(async (context, next) => {
    const refusal = guard(context.req.raw, context.env, sources);
    if (refusal !== null) return refusal;
    await next();
    context.header("cache-control", "no-store");
    return undefined;
  });
  const methods = new Map<string, string[]>();
  for (const { path, method, handle } of routes) {
    app.on(method, path, (context) => handle(context, sources));
    methods.set(path, [
      ...(methods.get(path) ?? []),
      ...(method === "GET" ? ["GET", "HEAD"] : [method]),
    ]);
  }
  for (const [path, allowed] of methods) {
    const allow = allowed.join(", ");
    app.all(path, (context) =>
      refuse(
        405,
        "INVALID_REQUEST",
        `${context.req.method} is not possible here, only ${allow}.`,
        context.env,
        {
          allow,
        },
      ),
    );
  }
  app.notFound((context) =>
    refuse(
      404,
      "NOT_FOUND",
      `There is nothing at ${context.req.path} of Cooldown itself. APIs are at /v1/... and /proxy/<host>/..., or ` +
        `behind their own Host header; what Cooldown tells is at ${shownPaths}.`,
      context.env,
    ),
  );
  app.onError((error, context) =>
    refuse(500, "INTERNAL", `The control route failed: ${error.message}`, context.env),
  );
  return { fetch: (request, caller) => app.fetch(request, caller) };
}

/** Alive, and with `?ready=1` also: taking requests. Load balancers and orchestrators ask the second. */
function health(context: Context<Env>, sources: ControlSources): Response {
  const unready = /^(1|true|yes)?$/i.test(context.req.query("ready") ?? "no") && !sources.ready();
  const now = sources.clock.now();
  return context.json(
    {
      status: unready ? "unavailable" : "healthy",
      service: "cooldown",
      version: sources.version,
      uptime_seconds: Math.max(0, Math.floor((now - sources.startedAt) / 1000)),
      timestamp: new Date(now).toISOString(),
    },
    unready ? 503 : 200,
  );
}

async function metrics(context: Context<Env>, sources: ControlSources): Promise<Response> {
  context.header("vary", "Accept");
  if (wantsJson(context.req.header("accept") ?? ""))
    return context.json(flatMetrics(sources.stats().quotas));
  return context.body(await sources.metrics.text(), 200, {
    "content-type": sources.metrics.contentType,
  });
}

function clearCache(context: Context<Env>, sources: ControlSources): Response {
  return context.json({ message: "Cache cleared successfully", removed: sources.clearCache() });
}

/** Whether JSON is asked for by name; a wildcard, which curl and browsers send, means the Prometheus text. */
function wantsJson(accept: string): boolean {
  return accept.split(",").some((range) => {
    const [type, ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    return (
      type === "application/json" && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))
    );
  });
}
