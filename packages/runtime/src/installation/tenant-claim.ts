import type { JsonObject } from "@sovereign/core";
import type { Store, TenantClaim } from "../store/index.ts";
import type { Clock } from "../system/index.ts";
import { recordLedgerEvent } from "./ledger-record.ts";

/**
 * Hand out the claim of one tenant. That is recorded before it is done, without the secret: whoever
 * reads the ledger knows since when somebody else can act as that tenant, and which claims count.
 *
 * @param replace make a new secret; the former one counts no more from then on
 * @throws ERR_STREAM_CONFLICT when another process replaces it at the same time
 */
export async function issueTenantClaim(
  store: Store,
  clock: Clock,
  tenant: string,
  replace: boolean,
): Promise<TenantClaim> {
  const present = await store.claimGeneration(tenant);
  const generation = replace ? present + 1 : present;
  const data: JsonObject = { tenant_id: tenant, generation };
  if (replace) await recordLedgerEvent(store, clock, "ledger.claim_replaced", "WARNING", data);
  else await recordLedgerEvent(store, clock, "ledger.claim_issued", "INFO", data);
  return store.tenantClaim(tenant, generation);
}
