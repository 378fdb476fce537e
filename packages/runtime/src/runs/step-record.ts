import { type EntryData, type LedgerEntry, parseCanonicalJson } from "@sovereign/core";
import type { LedgerReader } from "../ledger/index.ts";

/** What a run's entries say of a step that has completed. */
export interface StepRecord {
  /** When it was authorised, and when its end was recorded. */
  readonly begunAt: string;
  readonly endedAt: string;
  /** The types of the statements that were signed about its stage. */
  readonly attested: ReadonlySet<string>;
}

/** @param stepId of a stage whose step has its name */
export async function readStepRecord(
  ledger: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
  stepId: string,
): Promise<StepRecord | null> {
  let begunAt: string | null = null;
  let endedAt: string | null = null;
  const attested = new Set<string>();
  for await (const { bytes } of ledger.readStream(tenantId, runId)) {
    const entry = parseCanonicalJson(bytes) as unknown as LedgerEntry;
    const { event_type: event, data, timestamp } = entry;
    if (event === "execution.authorized") {
      const { context } = data as EntryData<"execution.authorized">;
      if (context.step_id === stepId) begunAt = timestamp;
    } else if (event === "execution.completed" && data["step_id"] === stepId) endedAt = timestamp;
    else if (event === "attestation.issued" && data["stage"] === stepId) {
      attested.add((data as EntryData<"attestation.issued">).predicate_type);
    }
  }
  if (begunAt === null || endedAt === null) return null;
  // A clock may have been set back in between.
  return { begunAt, endedAt: endedAt < begunAt ? begunAt : endedAt, attested };
}
