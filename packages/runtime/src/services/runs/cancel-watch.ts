import {
  type LedgerEntry,
  OPERATIONS_STREAM,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { every } from "../../system/index.ts";

/** How often whoever carries a run out looks if somebody cancelled it. */
const LOOK_MS = 500;

/** Who cancelled a run, and why, as the ledger says it. */
export interface Cancelled {
  readonly by: string;
  readonly reason: string;
}

export const CANCEL_REQUESTED = "run.cancel_requested";

/** A signal that also aborts once the ledger says that somebody cancelled the run. */
export function watchCancel(
  { installation, tenantId, signal }: Watched,
  runId: string,
): { readonly signal: AbortSignal; stop(): void } {
  const { store } = installation;
  const controller = new AbortController();
  let read: number | null = null;
  let looking = false;
  const look = async (): Promise<void> => {
    const { count } = await store.streamHead(tenantId, OPERATIONS_STREAM);
    // What was said before this process began on the run is its past.
    read ??= count;
    if (count === read) return;
    for await (const { bytes } of store.readStream(tenantId, OPERATIONS_STREAM, read)) {
      read += 1;
      const entry = parseCanonicalJson(bytes) as unknown as LedgerEntry;
      if (entry.event_type !== CANCEL_REQUESTED || entry.run_id !== runId) continue;
      controller.abort(cancelError(entry.data as unknown as Cancelled));
    }
  };
  const turn = (): void => {
    if (looking || controller.signal.aborted) return;
    looking = true;
    // Where the database does not answer, the run's own next commit tells.
    void look()
      .catch(() => undefined)
      .finally(() => {
        looking = false;
      });
  };
  turn();
  const stop = every(LOOK_MS, turn);
  return { signal: AbortSignal.any([signal, controller.signal]), stop };
}

interface Watched {
  readonly installation: Pick<Installation, "store">;
  readonly tenantId: string;
  readonly signal: AbortSignal;
}

export function cancelError({ by, reason }: Cancelled): SovereignError {
  return new SovereignError("ERR_RUN_CANCELLED", `Cancelled by ${by}: ${reason}`);
}
