import {
  type ArtifactRef,
  type ExecutionResult,
  formats,
  GATE_DOCUMENTS,
  parseFormat,
  parseStrictJson,
  predicateType,
} from "@sovereign/core";
import { ArtifactStore } from "../../runs/index.ts";
import { readRun } from "../../ledger/index.ts";
import type { Installation } from "../../installation/index.ts";

/** How an execution ended, as its recorded evidence says. */
export interface RecordedEnd extends Pick<ExecutionResult, "status" | "code" | "reason"> {
  /** True where the gates' receipt is in the ledger too. */
  readonly attested: boolean;
}

/**
 * A process that died after it recorded the evidence and before the seal: nothing of the evidence
 * may be written again, for the ledger names its digests.
 *
 * @returns null where no evidence was recorded
 * @throws ERR_ARTIFACT_CHANGED
 */
export async function readRecorded(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<RecordedEnd | null> {
  let result: ArtifactRef | undefined;
  for await (const { entry } of readRun(installation.store, tenantId, runId)) {
    if (entry.event_type === "evidence.recorded") {
      const artifacts = entry.data["artifacts"] as unknown as ArtifactRef[];
      result = artifacts.find((one) => one.name === GATE_DOCUMENTS.result);
    }
  }
  if (result === undefined) return null;
  const store = new ArtifactStore(installation.folder.run(runId));
  const value = parseStrictJson(await store.get(result));
  const { status, code, reason } = parseFormat(formats.executionResult, value, result.name);
  const attested = await readAttested(installation, tenantId, runId);
  return { status, code, reason, attested };
}

/** True where the gates' receipt is in the ledger. */
export async function readAttested(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<boolean> {
  for await (const { entry } of readRun(installation.store, tenantId, runId)) {
    if (entry.event_type !== "attestation.issued") continue;
    if (entry.data["predicate_type"] === predicateType("gate-receipt")) return true;
  }
  return false;
}
