import { statSync } from "node:fs";
import { join } from "node:path";
import {
  digestOf,
  type Envelope,
  evaluateGates,
  GATE_DOCUMENTS,
  gateInputDigests,
  type GateReceipt,
  isGateInput,
  isToolRun,
  type PlacedEntry,
  predicateType,
  readGateInputs,
  type ArtifactRef,
} from "@sovereign/core";
import { timestampOf, requireOwnFile } from "../../system/index.ts";
import { ArtifactStore } from "../../runs/index.ts";
import { readRun } from "../../ledger/index.ts";
import type { ExecContext } from "./exec-context.ts";
import type { RunOptions } from "../runs/lifecycle.ts";
import type { Installation } from "../../installation/index.ts";

/** Judge a run by every gate and put the signed receipt into its stream. */
export async function attestGates(options: RunOptions, context: ExecContext): Promise<GateReceipt> {
  const { installation, tenantId } = options;
  const { session, authority, runId } = context;
  const receipt = await judgeRun(installation, tenantId, runId, false);
  const subject = [{ name: runId, sha256: digestOf(receipt.results) }];
  const kind = "gate-receipt";
  const sign = async (): Promise<Record<string, Envelope>> => ({
    receipt: await authority.issue(kind, subject, receipt, "attestation", null),
  });
  await session.attest(predicateType(kind), sign, { status: receipt.status });
  return receipt;
}

/**
 * Judge a run by what its folder and the ledger hold now.
 * @param live also read documents that a run which has not ended did not record yet
 * @throws ERR_ARTIFACT_CHANGED when a document is not what the ledger names
 */
export async function judgeRun(
  installation: Installation,
  tenantId: string,
  runId: string,
  live = true,
): Promise<GateReceipt> {
  const entries: PlacedEntry[] = [];
  let sealed = false;
  for await (const entry of readRun(installation.store, tenantId, runId)) {
    sealed ||= entry.entry.event_type === "run.sealed";
    // What the gates said, and the seal, are no part of what they judge.
    if (["attestation.issued", "run.sealed"].includes(entry.entry.event_type)) continue;
    entries.push(entry);
  }
  const store = new ArtifactStore(installation.folder.run(runId));
  const contents = new Map<string, Uint8Array>();
  const ofTool = isToolRun(entries);
  for (const one of namedArtifacts(entries)) {
    if (isGateInput(one.name, ofTool)) contents.set(one.name, await store.get(one));
  }
  if (live && !sealed) addUnrecorded(contents, store.folder);
  return {
    run_id: runId,
    ...evaluateGates(readGateInputs(contents, entries)),
    inputs: gateInputDigests(contents, ofTool),
    evaluated_at: timestampOf(installation.clock),
  };
}

/** A run that has not ended has not recorded its documents yet: they are read as they are. */
function addUnrecorded(contents: Map<string, Uint8Array>, folder: string): void {
  for (const name of Object.values(GATE_DOCUMENTS)) {
    const path = join(folder, name);
    if (contents.has(name) || statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
      continue;
    contents.set(name, requireOwnFile(path));
  }
}

export function namedArtifacts(entries: readonly PlacedEntry[]): ArtifactRef[] {
  const naming = ["execution.completed", "evidence.recorded"];
  return entries
    .filter(({ entry }) => naming.includes(entry.event_type))
    .flatMap(({ entry }) => entry.data["artifacts"] as unknown as ArtifactRef[]);
}
