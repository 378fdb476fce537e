import type { Mode } from "@sovereign/core";
import type { RunStatus, StepStatus } from "../ledger/index.ts";
import type { RunRow } from "../runs/index.ts";

export interface RunRecord {
  run_id: string;
  log_id: string;
  kind: string;
  name: string;
  mode: Mode;
  status: RunStatus;
  plan: Uint8Array;
  plan_digest: string;
  reason: string | null;
  sealed_count: string | null;
  sealed_hash: string | null;
  created_at: Date;
  updated_at: Date;
}

export interface StepRecord {
  step_id: string;
  status: StepStatus;
  attempt: number;
  action_digest: string;
  output: Uint8Array | null;
}

export function runRowOf(row: RunRecord): RunRow {
  return {
    runId: row.run_id,
    tenantId: row.log_id,
    kind: row.kind,
    name: row.name,
    mode: row.mode,
    status: row.status,
    plan: row.plan,
    planDigest: row.plan_digest,
    reason: row.reason,
    sealed:
      row.sealed_count === null || row.sealed_hash === null
        ? null
        : { count: Number(row.sealed_count), hash: row.sealed_hash },
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
