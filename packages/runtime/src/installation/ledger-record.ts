import { INSTALLATION_LOG, type JsonObject, type Severity, SovereignError } from "@sovereign/core";
import { type Clock, timestampOf } from "../system/index.ts";
import { createEntry } from "../ledger/index.ts";
import type { Store } from "../store/index.ts";

/** The stream of the installation's log that says what happened to the ledger itself. */
export const LEDGER_STREAM = "ledger";
const ATTEMPTS = 20;

/**
 * Record what happened to the ledger, in the installation's log.
 * @throws ERR_STORE_UNAVAILABLE, ERR_STREAM_CONFLICT
 */
export async function recordLedgerEvent(
  store: Pick<Store, "streamHead" | "commit">,
  clock: Clock,
  eventType: `ledger.${string}`,
  severity: Severity,
  data: JsonObject,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const head = await store.streamHead(INSTALLATION_LOG, LEDGER_STREAM);
    const { bytes, hash } = createEntry(head, {
      stream: LEDGER_STREAM,
      tenantId: INSTALLATION_LOG,
      runId: null,
      timestamp: timestampOf(clock),
      eventType,
      severity,
      data,
    });
    const verdict = await store.commit({
      log: INSTALLATION_LOG,
      stream: LEDGER_STREAM,
      expectedHead: head,
      entries: [{ bytes, hash }],
    });
    if (verdict.status === "committed") return;
  }
  const text = "Other processes wrote first each time. Nothing was recorded; try again.";
  throw new SovereignError("ERR_STREAM_CONFLICT", text);
}
