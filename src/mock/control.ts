import { UsageError } from "../errors.ts";
import type { Exchange } from "./exchange.ts";
import { readFaultRule } from "./faults.ts";
import { limitNames } from "./limit.ts";
import type { LimitValues } from "./limit.ts";
import { isFields } from "./openai-prompt.ts";

const defaultLogEntries = 10_000;
const routes =
  "Here are GET stats, GET log, GET and PATCH limits, GET, POST and DELETE faults, and POST reset.";

/** The simulator's own routes; null where the request is for the provider. */
export function control(request: Request, exchange: Exchange): Response | Promise<Response> | null {
  if (!request.url.includes("/__mock/")) return null;
  const url = new URL(request.url);
  if (!url.pathname.startsWith("/__mock/")) return null;
  return answer(request, url, exchange).catch((error: unknown) => {
    if (error instanceof UsageError)
      return Response.json({ error: error.message }, { status: 400 });
    throw error;
  });
}

async function answer(request: Request, url: URL, exchange: Exchange): Promise<Response> {
  switch (`${request.method} ${url.pathname.slice("/__mock/".length)}`) {
    case "GET stats": {
      const withLog = url.searchParams.get("log") === "1";
      const log = withLog ? { requests_log: exchange.requests() } : {};
      return Response.json({ ...exchange.stats(), ...log });
    }
    case "GET log":
      return Response.json(
        exchange.log(Number(url.searchParams.get("limit")) || defaultLogEntries),
      );
    case "GET limits":
      return Response.json(exchange.limits());
    case "PATCH limits":
      exchange.setLimits(limitsIn(await json(request)));
      return Response.json(exchange.limits());
    case "GET faults":
      return Response.json(exchange.faults());
    case "POST faults":
      exchange.addFault(readFaultRule(await json(request)));
      return Response.json(exchange.faults());
    case "DELETE faults":
      exchange.clearFaults();
      return Response.json({ message: "Faults cleared." });
    case "POST reset":
      exchange.reset();
      return Response.json({ message: "Counts cleared." });
    default:
      return Response.json({ error: routes }, { status: 404 });
  }
}

/**
 * The limits in the body of `PATCH /__mock/limits`; null takes one away, as 0 does.
 *
 * @throws UsageError when it names one that there is not, or gives it no number.
 */
function limitsIn(body: unknown): LimitValues {
  if (!isFields(body)) throw new UsageError("Limits are a JSON object.");
  const values = Object.entries(body).map(([name, value]) => {
    if (!Object.hasOwn(limitNames, name)) {
      const names = Object.keys(limitNames).join(", ");
      throw new UsageError(`"${name}" is not a limit: there are ${names}.`);
    }
    if (value !== null && typeof value !== "number")
      throw new UsageError(`${name} must be a number.`);
    return [name, value ?? 0] as const;
  });
  return Object.fromEntries(values);
}

async function json(request: Request): Promise<unknown> {
  try {
    return await request.json();
  } catch {
    throw new UsageError("The body must be JSON.");
  }
}
