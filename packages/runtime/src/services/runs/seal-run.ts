import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  canonicalize,
  type ComplianceBundle,
  type EntryData,
  INSTALLATION_LOG,
  type JsonObject,
  type JsonValue,
  parseCanonicalJson,
  type PlacedEntry,
  SOURCE_SUMMARY_TYPE,
  SovereignError,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import type { Authority } from "../../authority/index.ts";
import {
  ArtifactStore,
  exportBundle,
  readEntries,
  type RunRow,
  type RunSession,
  hasDocuments,
} from "../../runs/index.ts";
import type { StoredEntry } from "../../ledger/index.ts";
import { type Installation, requireEndKeys } from "../../installation/index.ts";
import { replaceOwnFile } from "../../system/index.ts";
import { isSwitchOpen, removeHostile } from "../../executor/index.ts";
import { authorityOf } from "./open-session.ts";
import { whilePublishing } from "./run-folder.ts";
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
  status: "completed" | "failed" | "halted",
  reason: string | null,
): Promise<Published | Halted> {
  await requireEndKeys(place.installation, authority);
  const { runId } = session.plan;
  const seal = (): Promise<Published | Halted> =>
    sealAndPublish(place, { session, authority }, status, reason);
  return whilePublishing(place.installation, runId, seal);
}

async function sealAndPublish(
  place: Place,
  { session, authority }: Parameters<typeof sealRun>[1],
  status: Parameters<typeof sealRun>[2],
  reason: string | null,
): Promise<Published | Halted> {
  const { status: sealed, entries } = await session.seal(status, reason);
  const { runId } = session.plan;
  const row = await place.installation.store.findRun(place.tenantId, runId);
  if (row === null) throw new SovereignError("ERR_RUN_NOT_FOUND", `Run ${runId} is gone.`);
  const isGuarded = sealed === "halted" && (status !== "halted" || row.reason !== reason);
  if (!isGuarded) return publishRun(place, authority, row, entries);
  return publishHalted(place, authority, row, entries);
}

/** Why a run was halted, where its evidence lies, and that it did not end as its kind said. */
export interface Halted {
  readonly status: "halted";
  readonly code: "ERR_ENFORCEMENT_MISSING";
  readonly reason: string;
  readonly bundle: string | null;
  readonly trustRoot: string | null;
}

/** A ledger from which something was taken may have no signed head any more: that is told as well. */
async function publishHalted(
  place: Place,
  authority: Authority,
  row: RunRow,
  entries: readonly StoredEntry[],
): Promise<Halted> {
  const halted = { status: "halted", code: "ERR_ENFORCEMENT_MISSING" } as const;
  const reason = row.reason ?? "";
  try {
    return { ...halted, reason, ...(await publishRun(place, authority, row, entries)) };
  } catch (error) {
    const why = error instanceof Error ? error.message : "unknown";
    const said = `${reason}. Its evidence cannot be published: ${why}`;
    return { ...halted, reason: said, bundle: null, trustRoot: null };
  }
}

/**
 * What is left when a run of any kind is sealed, from what the ledger holds alone: so a process that
 * was killed before it, or in it, is made up for by the same.
 *
 * @param known what this process read of the run's stream and sealed, from its first entry on; null where
 *   a row alone says that the run was sealed: then its evidence is judged before anything is written
 */
export async function publishRun(
  { installation, tenantId }: Place,
  authority: Authority,
  row: RunRow,
  known: readonly StoredEntry[] | null,
): Promise<Published> {
  // The head covers runs of others, too, which were recorded since this process read the key log.
  await installation.keyLog.refresh();
  const signer = await authority.signer("checkpoint", null);
  for (const log of [tenantId, INSTALLATION_LOG]) {
    await installation.store.sealCheckpoint(log, installation.origin(log), signer);
  }
  const { runId } = row;
  const folder = installation.folder.run(runId);
  // Another node may have begun the run: this one has no folder of it yet.
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const published = publishedAt(installation, runId);
  // An execution's bundle holds its documents, which stand in its folder under their own names.
  const store = new ArtifactStore(hasDocuments(row) ? folder : join(folder, "artifacts"));
  const ledger = installation.store;
  const entries = await readEntries(ledger, tenantId, runId, known ?? []);
  const bytes = await exportBundle({
    ledger,
    entries,
    installationId: installation.id,
    tenantId,
    runId,
    readArtifact: holdsBytes(row) ? (artifact) => store.get(artifact) : null,
    plan: row.plan,
  });
  if (known === null) requireSealed(installation, runId, entries, bytes);
  if (row.kind === "pipeline") {
    const summary = summaryOf(tenantId, row, entries);
    replaceOwnFile(join(folder, "execution_summary.json"), JSON.stringify(summary, null, 2));
  }
  const source = sourceIn(entries, bytes);
  if (source !== null) replaceOwnFile(join(folder, SOURCE_FILE), source);
  replaceOwnFile(published.trustRoot, JSON.stringify(installation.keyLog.trustRoot(), null, 2));
  // The last of all: where it is, nothing of the run is left to be done.
  replaceOwnFile(published.bundle, bytes);
  return published;
}

/** A row can say that a run was sealed which no process of ours ended. @throws ERR_RUN_DIVERGED */
function requireSealed(
  { keyLog }: Installation,
  runId: string,
  entries: readonly PlacedEntry[],
  bundle: Uint8Array,
): void {
  const trustRoot = canonicalBytes(keyLog.trustRoot());
  const { steps } = verifyBundle(bundle, { trustRoot, level: "compatible" });
  const failed = steps.find(({ status }) => status !== "PASS" && status !== "NOT_RUN");
  const isSealed = entries.at(-1)?.entry.event_type === "run.sealed";
  if (isSealed && failed === undefined) return;
  const why = failed?.first_failure?.message ?? "its entries do not end with a seal";
  const text = `The row of run ${runId} says that it was sealed; its entries do not: ${why}. Nothing of it is published.`;
  throw new SovereignError("ERR_RUN_DIVERGED", text, { runId });
}

/** True where whoever checks the bundle needs the files themselves: to judge, or to count again. */
function holdsBytes(row: RunRow): boolean {
  return hasDocuments(row) || row.kind === "agent_compare";
}

/** Beside the bundle, for tools that read attestations of sources: what the bundle holds, too. */
const SOURCE_FILE = "source_attestation.intoto.jsonl";

/** The signed statement about a commit as one line; null where the run says nothing of one. */
function sourceIn(entries: readonly PlacedEntry[], bundle: Uint8Array): string | null {
  const named = entries.find(
    ({ entry: { event_type: event, data } }) =>
      event === "attestation.issued" && data["predicate_type"] === SOURCE_SUMMARY_TYPE,
  );
  const digest = (named?.entry.data["envelopes"] as Record<string, string> | undefined)?.["source"];
  if (digest === undefined) return null;
  const limits = { bytesMax: bundle.length };
  const { envelopes } = parseCanonicalJson(bundle, limits) as unknown as ComplianceBundle;
  const envelope = envelopes[digest];
  return envelope === undefined ? null : `${canonicalize(envelope)}\n`;
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
function summaryOf(tenantId: string, row: RunRow, entries: readonly PlacedEntry[]): JsonObject {
  const artifacts: JsonValue[] = [];
  let admitted: Partial<EntryData<"run.admitted">> = {};
  for (const { entry } of entries) {
    const { event_type: event, data } = entry;
    if (event === "run.admitted") admitted = data;
    if (event !== "execution.completed" && event !== "evidence.recorded") continue;
    const { artifacts: more } = data as EntryData<"evidence.recorded">;
    for (const one of more) artifacts.push(one);
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
  const { bundle, trustRoot } = await whilePublishing(installation, runId, () =>
    publishRun(place, authority, row, null),
  );
  const ended = status === "completed" || status === "halted" ? status : "failed";
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
