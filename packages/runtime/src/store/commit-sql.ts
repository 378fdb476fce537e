import type { CommitItem, CommitRefusal, CommitVerdict } from "../ledger/index.ts";

export const COMMIT_SQL = `select item, first_index, refusal from sovereign.commit_batch(
  $1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bigint[],
  $8::int[], $9::text[], $10::int[], $11::int[], $12::bytea,
  $13::int[], $14::text[], $15::bytea[],
  $16::int[], $17::text[], $18::text[], $19::jsonb)`;

/** The parameters of one call of `commit_batch`: columns, not rows. Items count from 1. */
export function commitParameters(items: readonly CommitItem[]): unknown[] {
  let start = 1;
  const entries = items.flatMap((item, at) =>
    item.entries.map((entry) => {
      const placed = { at: at + 1, ...entry, start };
      start += entry.bytes.length;
      return placed;
    }),
  );
  const envelopes = items.flatMap((item, at) =>
    (item.envelopes ?? []).map((envelope) => ({ at: at + 1, ...envelope })),
  );
  const nonces = items.flatMap((item, at) =>
    (item.nonces ?? []).map((nonce) => ({ at: at + 1, ...nonce })),
  );
  return [
    items.map((item) => item.log),
    items.map((item) => item.stream),
    items.map((item) => item.expectedHead.count),
    items.map((item) => item.expectedHead.hash),
    items.map((item) => item.keyEpoch ?? null),
    items.map((item) => item.fence?.runId ?? null),
    items.map((item) => item.fence?.epoch ?? null),
    entries.map((entry) => entry.at),
    entries.map((entry) => entry.hash),
    entries.map((entry) => entry.start),
    entries.map((entry) => entry.bytes.length),
    Buffer.concat(entries.map((entry) => entry.bytes)),
    envelopes.map((envelope) => envelope.at),
    envelopes.map((envelope) => envelope.digest),
    envelopes.map((envelope) => hexBytes(envelope.bytes)),
    nonces.map((nonce) => nonce.at),
    nonces.map((nonce) => nonce.nonce),
    nonces.map((nonce) => nonce.expiresAt),
    JSON.stringify(rowsWritten(items)),
  ];
}

/** The text form of a bytea: cheaper than letting the driver escape each byte array. */
function hexBytes(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex")}`;
}

function rowsWritten(items: readonly CommitItem[]): unknown {
  const runs = items.flatMap(({ run }, at) =>
    run === undefined
      ? []
      : {
          item: at + 1,
          run_id: run.runId,
          name: run.name,
          mode: run.mode,
          status: run.status,
          plan: Buffer.from(run.plan).toString("base64"),
          plan_digest: run.planDigest,
          reason: run.reason,
          sealed_count: run.sealed?.count ?? null,
          sealed_hash: run.sealed?.hash ?? null,
        },
  );
  const steps = items.flatMap(({ step }, at) =>
    step === undefined
      ? []
      : {
          item: at + 1,
          run_id: step.runId,
          step_id: step.stepId,
          status: step.status,
          attempt: step.attempt,
          action_digest: step.actionDigest,
          output: step.output === null ? null : Buffer.from(step.output).toString("base64"),
        },
  );
  return { runs, steps };
}

export interface VerdictRow {
  readonly item: number;
  readonly first_index: string | null;
  readonly refusal: CommitRefusal | null;
}

export function verdictsOf(rows: readonly VerdictRow[], count: number): CommitVerdict[] {
  const byItem = new Map(rows.map((row) => [row.item, row]));
  return Array.from({ length: count }, (_, at): CommitVerdict => {
    const row = byItem.get(at + 1);
    if (row === undefined) throw new Error(`commit_batch gave no verdict for item ${at + 1}`);
    if (row.refusal === null) return { status: "committed", firstIndex: Number(row.first_index) };
    return { status: "refused", reason: row.refusal, detail: DETAILS[row.refusal] };
  });
}

const DETAILS: Readonly<Record<CommitRefusal, string>> = {
  stream_conflict: "the stream does not stand where the writer thought",
  fenced: "another process has taken the run over",
  nonce_used: "a signed permission was used before",
  key_epoch: "the key log has grown since the signatures were judged",
  invalid: "the item is not well formed",
};
