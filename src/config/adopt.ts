import type { AccountSpec } from "../ledger/account.ts";
import type { Ledger } from "../ledger/ledger.ts";
import {
  allQuotas,
  defaultAccount,
  groupAccounts,
  isKeyAccount,
  poolAccount,
  quotaAccount,
} from "./quotas.ts";
import type { Config } from "./schema.ts";

/**
 * Gives all accounts the specs of a new configuration. What is used stays used; copies of quotas (`per`) and default
 * buckets take over their new limits; what is not configured any more stops limiting.
 */
export function adopt(ledger: Ledger, specs: readonly AccountSpec[], config: Config): void {
  const configured = new Set(specs.map(({ name }) => name));
  const groups = groupAccounts(config);
  for (const spec of specs) ledger.account(spec);
  for (const account of ledger.accounts()) {
    if (configured.has(account.name)) continue;
    const quota = allQuotas(config).find(
      ({ name, per }) => per.length > 0 && isCopy(account.name, name, per),
    );
    if (quota !== undefined) {
      const fresh = quotaAccount(quota, groups, { model: "", credential: "" });
      const { group: before, label } = account.spec;
      const group = fresh.group === fresh.name ? before : fresh.group;
      const isPool = quota.api_keys.length > 0 && !isKeyAccount(account.name);
      ledger.account({
        ...(isPool ? poolAccount(fresh) : fresh),
        name: account.name,
        label,
        group,
      });
    } else if (account.name.startsWith("default ")) {
      ledger.account(defaultAccount(config.default_rate_limit, account.spec.label));
    } else if (account.spec.limits.length === 0) {
      continue;
    } else ledger.account({ ...account.spec, limits: [], group: account.name });
  }
}

function isCopy(account: string, quota: string, per: readonly string[]): boolean {
  return account.startsWith(`quota ${quota} ${per[0]}=`);
}
