import type { QuotaConfig, RateLimitConfig } from "../config/schema.ts";
import type { Limit } from "../limit/limit.ts";
import { parseBody } from "../provider/body.ts";
import type { Dialect, ModelCall } from "../provider/dialect.ts";
import { dialectOf } from "../provider/dialects.ts";
import { generic } from "../provider/generic.ts";
import type { Provider } from "../provider/provider.ts";
import { parseHost } from "../routing/host.ts";
import type { QuotaCandidate } from "../routing/rules.ts";
import { pickQuota } from "../routing/rules.ts";
import type { Route, UpstreamRoute } from "../routing/target.ts";
import { destination, routeToUpstream } from "../routing/target.ts";
import type { Needs, Runtime } from "../runtime.ts";
import { inForce } from "../runtime.ts";
import type { Estimate, Learning } from "./estimate.ts";
import { estimate, learningKey } from "./estimate.ts";
import type { Exchange } from "./exchange.ts";
import type { Incoming } from "./incoming.ts";
import { RightSize } from "./right-size.ts";

/** Longer names of models are cut, characters. */
const longestModel = 120;

export type Target = Route<RateLimitConfig, QuotaConfig>;
export type UpstreamTarget = UpstreamRoute<RateLimitConfig, QuotaConfig>;

/** A model's call as its body tells it. */
interface ReadCall extends ModelCall {
  readonly parsed: Record<string, unknown>;
}

/** Where a request goes. */
interface Place {
  readonly url: string;
  /** The host whose addresses must be public, null where the operator has written it. */
  readonly guardedHost: string | null;
  readonly quota: QuotaConfig | null;
  /** Whose accounting and hints apply. */
  readonly provider: Provider;
}

/** What is known of a model's call when it can be priced. */
interface Planned {
  readonly route: UpstreamTarget;
  readonly dialect: Dialect;
  readonly call: ReadCall;
  readonly place: Place;
  readonly needs: Needs;
}

/** The upstream that is asked: for `/v1/*` the body may say which. */
export function routeOf(
  runtime: Runtime,
  target: Exclude<Target, { kind: "control" }>,
  incoming: Incoming,
): UpstreamTarget | Promise<UpstreamTarget> {
  if (target.kind !== "v1") return target;
  const to = (model: string): UpstreamTarget =>
    routeToUpstream(runtime.routing, runtime.upstreamOf(model), target.target);
  if (!runtime.routesByModel || incoming.request.body === null) return to("");
  return incoming.read().then((body) => to(modelIn(body)));
}

/** Whether a client's own limit counts tokens: then they are counted where no quota asks for it, too. */
export function limitsTokens({ client }: Exchange): boolean {
  return (client.tier?.tpm ?? null) !== null;
}

/** The wire format of the call; where nobody looks into it, any will do. */
export function formatOf(route: UpstreamTarget, exchange: Exchange): Dialect {
  const [first] = route.quotas;
  return first === undefined && !limitsTokens(exchange)
    ? generic
    : dialectOf(first?.quota.provider ?? "generic", exchange.apiPath);
}

/** Whether what the request costs, or which quota it falls under, depends on what its body says. */
export function dependsOnBody(
  runtime: Runtime,
  route: UpstreamTarget,
  dialect: Dialect,
  exchange: Exchange,
): boolean {
  const ofClient = limitsTokens(exchange);
  return (
    (ofClient || route.quotas.length > 0) &&
    dialect.isMetered(exchange.method, exchange.apiPath) &&
    (ofClient ||
      needsCall(route.quotas) ||
      route.quotas.some(({ quota }) => runtime.learnedTokens(quota)))
  );
}

/**
 * Reads what the body asks of a model.
 * @throws ProxyError `INVALID_REQUEST` where it is no JSON, or a field that must be counted has the wrong type
 */
export function readCall(body: Uint8Array, dialect: Dialect, exchange: Exchange): ReadCall {
  const parsed = parseBody(body);
  const call = dialect.readCall(exchange.apiPath, parsed);
  exchange.model = shortened(call.model);
  exchange.streamed = call.stream;
  return { ...call, parsed };
}

/** Decides on the quota, and with it on the upstream. */
export function placeOf(route: UpstreamTarget, call: ModelCall | null): Place {
  const candidate = pickQuota(route.quotas, call?.model ?? "");
  const quota = candidate?.quota ?? null;
  const { url, guarded } = destination(route, candidate);
  const guardedHost = guarded ? route.hostname : null;
  return { url, guardedHost, quota, provider: quota?.provider ?? "generic" };
}

/** What the request needs room in there. */
export function needsOf(
  runtime: Runtime,
  route: UpstreamTarget,
  { quota }: Pick<Place, "quota">,
  exchange: Exchange,
): Needs {
  const share = { model: exchange.model ?? "", credential: exchange.client.credential };
  const needs = runtime.needs(route, quota, share);
  exchange.quota = needs.quota;
  return needs;
}

/** What a request that waits needs room in by the configuration in force now. Where it goes, and its price, stay. */
export function needsAnew(
  runtime: Runtime,
  route: UpstreamTarget,
  model: string,
  exchange: Exchange,
): Needs {
  const now = inForce(runtime);
  const host = parseHost(route.host);
  const rule = host && now.routing.rules.find(host);
  const quotas = host === null ? [] : now.routing.quotasOf(host);
  const quota = pickQuota(quotas, model)?.quota ?? null;
  return needsOf(now, { ...route, rule, quotas }, { quota }, exchange);
}

/**
 * What a call will cost, null where nothing counts tokens. Its cap on output is lowered first where the quota says so.
 */
export function priceOf(
  learning: Learning,
  { route, dialect, call, place: { quota, provider }, needs }: Planned,
  exchange: Exchange,
  incoming: Incoming,
): Estimate | Promise<Estimate> | null {
  if (!limitsTokens(exchange) && (quota === null || !countsTokens(needs))) return null;
  const scope = quota?.name ?? route.host;
  const key = `${learningKey(scope, call.model)}\n${exchange.client.id}`;
  const sizing = { needs: learning.needs, key, provider, dialect, path: exchange.apiPath };
  const cap = call.maxOutput;
  // Needs are learned from the first answer on, though caps stay as they are until enough is known.
  const rightSize =
    quota?.right_size_max_tokens === true && cap !== null && incoming.body !== null
      ? new RightSize(sizing, incoming.body, call.parsed, cap)
      : null;
  exchange.rightSize = rightSize;
  const sized = rightSize && { cap: rightSize.cap, sentCap: rightSize.capNow(), key };
  return estimate(learning, call, { scope, provider, limits: limitsOf(needs), sized });
}

/** A model's name as it may stand in logs, metrics and names of accounts: clients write what they like. */
function shortened(model: string): string {
  if (model.length <= longestModel) return model;
  return `${model.slice(0, longestModel - 17)} ${Bun.hash(model).toString(16).padStart(16, "0")}`;
}

/** Whether a quota needs to know what a call says: its model or its tokens. */
function needsCall(candidates: readonly QuotaCandidate<QuotaConfig>[]): boolean {
  let needs = whetherNeeded.get(candidates);
  if (needs === undefined) {
    needs = candidates.some(callDecides);
    whetherNeeded.set(candidates, needs);
  }
  return needs;
}

/** Remembered: a host's candidates are the same for one request after another. */
const whetherNeeded = new WeakMap<readonly QuotaCandidate<QuotaConfig>[], boolean>();

function callDecides({ quota }: QuotaCandidate<QuotaConfig>): boolean {
  const { models, per, tpm, tph, tpd, input_tpm, output_tpm, total_tpm } = quota;
  const tokens = [tpm, tph, tpd, input_tpm, output_tpm, total_tpm].some((limit) => limit !== null);
  return tokens || per.includes("model") || !models.includes("*");
}

/** The limits that a request meets; of several keys, all of which have the same, those of one. */
function limitsOf({ path }: Needs): readonly Limit[] {
  return (path.alternatives[0] ?? path).limits;
}

function countsTokens(needs: Needs): boolean {
  return limitsOf(needs).some(({ unit }) => unit !== "requests" && unit !== "slots");
}

/** The model that a JSON body names, empty if it names none or is none: that is for the upstream to say. */
function modelIn(body: Uint8Array): string {
  try {
    const { model } = parseBody(body);
    return typeof model === "string" ? model : "";
  } catch {
    return "";
  }
}
