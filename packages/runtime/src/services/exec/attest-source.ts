import {
  type PlacedEntry,
  predicateType,
  SOURCE_SUMMARY_TYPE,
  type SourceReceipt,
  sourceStatementOf,
} from "@sovereign/core";
import { readRun } from "../../ledger/index.ts";
import type { RunOptions } from "../runs/lifecycle.ts";
import type { ExecContext } from "./exec-context.ts";

/**
 * Sign what the run's entries prove of the commit that it brought to a branch, and put that into its
 * stream. Nothing is said where nothing is proved, and nothing twice.
 */
export async function attestSource(options: RunOptions, context: ExecContext): Promise<void> {
  const { installation, tenantId } = options;
  const { session, authority, runId } = context;
  const entries: PlacedEntry[] = [];
  let receipt: SourceReceipt | null = null;
  for await (const placed of readRun(installation.store, tenantId, runId)) {
    const { event_type: event, data } = placed.entry;
    const isIssued = event === "attestation.issued";
    const { predicate_type: type, status, envelopes } = isIssued ? data : {};
    if (type === SOURCE_SUMMARY_TYPE) return;
    if (type === predicateType("gate-receipt")) {
      const sha256 = (envelopes as Record<string, string>)["receipt"] ?? "";
      receipt = { status: status === "PASS" ? status : "FAIL", sha256 };
    }
    entries.push(placed);
  }
  const statement = receipt === null ? null : sourceStatementOf(entries, receipt);
  if (statement === null) return;
  await session.attest(SOURCE_SUMMARY_TYPE, async () => ({
    source: await authority.issueSource(statement),
  }));
}
