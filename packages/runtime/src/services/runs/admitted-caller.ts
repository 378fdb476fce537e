import type { ApiCaller, EntryData } from "@sovereign/core";
import { type LedgerReader, readRun } from "../../ledger/index.ts";

/** Who submitted a run over the network, as its first entry says; null for a command of the machine. */
export async function admittedCaller(
  ledger: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
): Promise<ApiCaller | null> {
  for await (const { entry } of readRun(ledger, tenantId, runId)) {
    if (entry.event_type !== "run.admitted") return null;
    return (entry.data as EntryData<"run.admitted">).caller ?? null;
  }
  return null;
}
