import { existsSync } from "node:fs";
import { type Installation, recordLedgerEvent } from "../../installation/index.ts";
import { createModelRegistry, type ModelRegistry, SwitchedModels } from "../../pipeline/index.ts";
import { checkTenant } from "../../runs/index.ts";
import type { LedgerFinding } from "../../store/index.ts";
import { systemEntropy } from "../../system/index.ts";

/** The models of a data folder, and what a tenant's ledger says of them. */
export function openModels(
  { store, clock, folder }: Installation,
  tenantId: string,
): { readonly registry: ModelRegistry; readonly models: SwitchedModels } {
  const registry = createModelRegistry({ folder: folder.registry, clock, entropy: systemEntropy });
  // Each machine has a registry of its own. Where there is one machine, every run was its own.
  const isOwn = (one: string): boolean => !store.shared || existsSync(folder.run(one));
  return { registry, models: new SwitchedModels(registry, store, tenantId, isOwn) };
}

/**
 * Take back switches of models that runs of a tenant made, and ended without recording them, as an
 * earlier version could leave them after a kill. What is taken back is recorded first.
 *
 * @throws ERR_TENANT_INVALID, ERR_REGISTRY_…, ERR_STORE_UNAVAILABLE
 */
export async function repairRegistry(
  installation: Installation,
  tenantId: string,
): Promise<LedgerFinding[]> {
  checkTenant(tenantId);
  const { registry, models } = openModels(installation, tenantId);
  const all: LedgerFinding[] = [];
  for (const model of await registry.models()) {
    const strays = await models.unrecorded(model);
    const waits = strays.find(({ goesOn }) => goesOn);
    const findings = strays.map(({ record, goesOn }): LedgerFinding => {
      const { version, run_id, digest } = record;
      const end = goesOn ? "which goes on" : "which ended and did not record it";
      const first = waits === undefined ? "" : `; end ${waits.record.run_id} first`;
      const found = `model ${model}: switch ${version} of ${run_id} to ${digest}, ${end}${first}`;
      const done = waits === undefined ? "set aside" : "left";
      return { log: tenantId, kind: "switch", place: version, found, done };
    });
    for (const finding of findings) all.push(finding);
    if (findings.length === 0 || waits !== undefined) continue;
    const data = { changed: findings.length, findings: named(findings) };
    const { store, clock } = installation;
    await recordLedgerEvent(store, clock, "ledger.repaired", "CRITICAL", data);
    await registry.setAside(strays.map(({ record }) => record));
  }
  return all;
}

/** Findings that a record names; the rest is counted. */
const NAMED_MAX = 50;

function named(findings: readonly LedgerFinding[]): Record<string, string | number>[] {
  return findings.slice(0, NAMED_MAX).map((one) => ({ ...one }));
}
