import { fields, INSTALLATION_LOG, SovereignError } from "@sovereign/core";

/**
 * A tenant's name becomes its log's name, an origin and a file's: the installation's is taken.
 * @throws ERR_TENANT_INVALID
 */
export function checkTenant(tenantId: string): void {
  if (fields.name.safeParse(tenantId).success && tenantId !== INSTALLATION_LOG) return;
  throw new SovereignError(
    "ERR_TENANT_INVALID",
    `The tenant ${JSON.stringify(tenantId.slice(0, 80))}: expected 1 to 63 of a-z 0-9 _ . -, starting with a letter, and not "${INSTALLATION_LOG}".`,
  );
}
