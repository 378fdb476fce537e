import type { Mode } from "@sovereign/core";
import type {
  CommitPort,
  LedgerReader,
  RunStatus,
  StepStatus,
  StreamHead,
} from "../ledger/index.ts";

/** A run as the store keeps it. */
export interface RunRow {
  readonly runId: string;
  readonly tenantId: string;
  /** What it is: `pipeline`, `exec_request`, `exec_rollback`, `batch`, or what a later version makes. */
  readonly kind: string;
  readonly name: string;
  readonly mode: Mode;
  readonly status: RunStatus;
  readonly plan: Uint8Array;
  readonly planDigest: string;
  readonly reason: string | null;
  readonly sealed: StreamHead | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Which runs are listed. */
export interface RunFilter {
  readonly limit: number;
  /** Null for all. */
  readonly status: string | null;
  readonly kind: string | null;
}

export interface StepRow {
  readonly stepId: string;
  readonly status: StepStatus;
  readonly attempt: number;
  readonly actionDigest: string;
  readonly output: Uint8Array | null;
}

/** What runs ask of the store, besides the ledger. */
export interface RunStore extends CommitPort, LedgerReader {
  findRun(tenant: string, runId: string): Promise<RunRow | null>;
  /** Newest first. */
  listRuns(tenant: string, wanted: RunFilter): Promise<RunRow[]>;
  listSteps(tenant: string, runId: string): Promise<StepRow[]>;
  /** Take the run over: raises its fence, so that an earlier owner can write no more. */
  claimRun(tenant: string, runId: string): Promise<number>;
  streamHead(log: string, stream: string): Promise<StreamHead>;
}
