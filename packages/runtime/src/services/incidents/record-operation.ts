import { type JsonObject, OPERATIONS_STREAM, type Severity, SovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { type CommitExtras, StreamWriter } from "../../ledger/index.ts";
import { timestampOf } from "../../system/index.ts";

/** What somebody says of a tenant's work. */
export interface Operation {
  readonly event: string;
  readonly severity: Severity;
  readonly data: JsonObject;
  /** The run that it is about; null for none. */
  readonly runId: string | null;
}

const ATTEMPTS = 20;

/**
 * Record it in the tenant's stream `operations`.
 * @param extras what is written in the same commit
 * @throws ERR_STORE_UNAVAILABLE, ERR_STREAM_CONFLICT
 */
export async function recordOperation(
  { store, clock }: Pick<Installation, "store" | "clock">,
  tenantId: string,
  { event, severity, data, runId }: Operation,
  extras: CommitExtras = {},
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const head = await store.streamHead(tenantId, OPERATIONS_STREAM);
    const writer = new StreamWriter(store, tenantId, OPERATIONS_STREAM, head);
    const verdict = await writer.append(
      { tenantId, runId, timestamp: timestampOf(clock), eventType: event, severity, data },
      extras,
    );
    if (verdict.status === "committed") return;
  }
  const text = "Other processes wrote first each time. Nothing was recorded; try again.";
  throw new SovereignError("ERR_STREAM_CONFLICT", text);
}

/** The name that somebody gives for what they do. It is recorded, and not proved. */
export function checkWho(by: string): string {
  if (/^[\p{L}\p{N}][\p{L}\p{N} ._@+-]{0,99}$/u.test(by)) return by;
  const text =
    "Expected the name of who does it: 1 to 100 letters, digits, blanks and . _ @ + -. Type: --by NAME";
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}
