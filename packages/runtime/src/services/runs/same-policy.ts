import {
  type EntryData,
  type LedgerEntry,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import type { LedgerReader } from "../../ledger/index.ts";

/**
 * A run goes on under the policy that it was admitted with. The same file may mean another policy in
 * a later version of Sovereign, and evidence of both would be evidence of neither.
 *
 * @throws ERR_RUN_DIVERGED
 */
export async function refuseOtherPolicy(
  store: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
  policyDigest: string,
): Promise<void> {
  for await (const { bytes } of store.readStream(tenantId, runId)) {
    const { data } = parseCanonicalJson(bytes) as unknown as LedgerEntry;
    const { policy_digest: admitted } = data as EntryData<"run.admitted">;
    if (admitted === policyDigest) return;
    throw new SovereignError(
      "ERR_RUN_DIVERGED",
      `Run ${runId} began under the policy ${admitted}; its policy file means ${policyDigest} now. Start a new run.`,
      { runId },
    );
  }
}
