import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type EntryData,
  INSTALLATION_LOG,
  type JsonObject,
  type JsonValue,
  SovereignError,
} from "@sovereign/core";
import type { Authority } from "../../authority/index.ts";
import {
  ArtifactStore,
  exportBundle,
  type RunRow,
  type RunSession,
  hasDocuments,
} from "../../runs/index.ts";
import { readRun } from "../../ledger/index.ts";
import { type Installation, requireEndKeys } from "../../installation/index.ts";
import { replaceOwnFile } from "../../system/index.ts";
import { isSwitchOpen, removeHostile } from "../../executor/index.ts";
import { authorityOf } from "./open-session.ts";
import type { RunResult } from "./run-result.ts";

export interface Place {
  readonly installation: Installation;
  readonly tenantId: string;
}

/** Where a run's evidence lies, for those who check it. */
export interface Published {
  readonly bundle: string;
  readonly trustRoot: string;
}

/** Seal a run, sign the logs' heads, and write the evidence into the run's folder. */
export async function sealRun(
  place: Place,
  { session, authority }: { readonly session: RunSession; readonly authority: Authority },
  status: "completed" | "failed",
  reason: string | null,
): Promise<Published> {
  await requireEndKeys(place.installation, authority);
  await session.seal(status, reason);
  const { runId } = session.plan;
  const row = await place.installation.store.findRun(place.tenantId, runId);
  if (row === null) throw new SovereignError("ERR_RUN_NOT_FOUND", `Run ${runId} is gone.`);
  return publishRun(place, authority, row);
}

/**
 * What is left when a run of any kind is sealed, from what the ledger holds alone: so a process that
 * was killed before it, or in it, is made up for by the same.
 */
export async function publishRun(
  { installation, tenantId }: Place,
  authority: Authority,
  row: RunRow,
): Promise<Published> {
  const signer = await authority.signer("checkpoint", null);
  for (const log of [tenantId, INSTALLATION_LOG]) {
    await installation.store.sealCheckpoint(log, installation.origin(log), signer);
  }
  const { runId } = row;
  const folder = installation.folder.run(runId);
  const published = publishedAt(installation, runId);
  // An execution's bundle holds its documents, which stand in its folder under their own names.
  const store = new ArtifactStore(folder);
  const bytes = await exportBundle({
    ledger: installation.store,
    installationId: installation.id,
    tenantId,
    runId,
    readArtifact: hasDocuments(row) ? (artifact) => store.get(artifact) : null,
  });
  if (row.kind === "pipeline") {
    const summary = await summaryOf({ installation, tenantId }, row);
    replaceOwnFile(join(folder, "execution_summary.json"), JSON.stringify(summary, null, 2));
  }
  replaceOwnFile(published.trustRoot, JSON.stringify(installation.keyLog.trustRoot(), null, 2));
  // The last of all: where it is, nothing of the run is left to be done.
  replaceOwnFile(published.bundle, bytes);
  return published;
}

export function isPublished(installation: Installation, runId: string): boolean {
  return existsSync(publishedAt(installation, runId).bundle);
}

export function publishedAt(installation: Installation, runId: string): Published {
  const folder = installation.folder.run(runId);
  const bundle = join(folder, "compliance_bundle.json");
  return { bundle, trustRoot: join(folder, "trust-root.json") };
}

/** A pipeline's run in short, for people and programs that read no ledger. */
async function summaryOf({ installation, tenantId }: Place, row: RunRow): Promise<JsonObject> {
  const artifacts: JsonValue[] = [];
  let admitted: Partial<EntryData<"run.admitted">> = {};
  for await (const { entry } of readRun(installation.store, tenantId, row.runId)) {
    const { event_type: event, data } = entry;
    if (event === "run.admitted") admitted = data;
    if (event !== "execution.completed" && event !== "evidence.recorded") continue;
    artifacts.push(...(data as EntryData<"evidence.recorded">).artifacts);
  }
  return {
    run_id: row.runId,
    tenant_id: tenantId,
    name: row.name,
    mode: row.mode,
    status: row.status,
    reason: row.reason,
    plan_digest: row.planDigest,
    config_digest: admitted.config_digest ?? null,
    policy_digest: admitted.policy_digest ?? null,
    artifacts,
  };
}

/**
 * Make up for a process that was killed between a run's seal and its bundle, whatever kind of run
 * it is.
 *
 * @throws ERR_RUN_SEALED where nothing is left to be done
 */
export async function publishSealed(place: Place, row: RunRow): Promise<RunResult> {
  const { installation } = place;
  const { runId, status, reason } = row;
  if (isPublished(installation, runId)) {
    throw new SovereignError("ERR_RUN_SEALED", `Run ${runId} has ended: ${status}.`);
  }
  const authority = authorityOf(installation, null);
  const { bundle, trustRoot } = await publishRun(place, authority, row);
  const ended = status === "completed" ? "completed" : "failed";
  const rest = { outcome: null, code: null, artifacts: [] };
  return { runId, status: ended, reason, bundle, trustRoot, ...rest };
}

/**
 * What the steps worked in is in the patches, and a tree that hostile code wrote is not kept; copies
 * of what could not be put back stay where the message says they are.
 */
export async function removeScratch(folder: string): Promise<void> {
  const scratch = join(folder, "work");
  if (!isSwitchOpen(join(scratch, "switch"))) await removeHostile(scratch);
}
