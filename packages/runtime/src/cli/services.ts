import type { KeyRecord, Mode, TrustRoot, VerificationReport } from "@sovereign/core";
import type { KeySlot } from "../authority/index.ts";
import type { KeyTable } from "@sovereign/core";
import type { Progress } from "../pipeline/index.ts";
import type { CompiledPolicy, Explanation, SandboxPolicy } from "../policy/index.ts";
import type { RunRow } from "../runs/index.ts";
import type { SandboxReport } from "../sandbox/index.ts";
import type { ScramStatus } from "../scram/index.ts";

/** How a run ended, for the command line. */
export interface RunReport {
  readonly runId: string;
  readonly status: "completed" | "failed" | "pending";
  readonly reason: string | null;
  readonly code: string | null;
  readonly bundle: string | null;
  readonly trustRoot: string | null;
  readonly verdict: VerificationReport["verdict"] | null;
}

export interface RunInput {
  readonly tenantId: string;
  readonly approvers: readonly string[];
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

/** What the command line can do. `main/` implements it over the real parts. */
export interface Services {
  readonly version: string;
  readonly home: string;
  run(
    file: string,
    input: RunInput & { readonly mode: Mode; readonly faults: readonly string[] },
  ): Promise<RunReport>;
  resume(runId: string, input: RunInput): Promise<RunReport>;
  approve(
    tenantId: string,
    runId: string,
    role: string,
  ): Promise<{ stepId: string; required: number }>;
  listRuns(tenantId: string): Promise<RunRow[]>;
  status(): Promise<{ home: string; database: string; installation: string; scram: ScramStatus }>;
  initKeys(slots: readonly KeySlot[]): Promise<KeyRecord[]>;
  addKey(slot: KeySlot): Promise<KeyRecord>;
  listKeys(): Promise<KeyTable>;
  rotateKey(keyId: string, reason: string): Promise<KeyRecord>;
  revokeKey(keyId: string, reason: string, distrustAll: boolean): Promise<void>;
  trustRoot(): Promise<TrustRoot>;
  exportBundle(tenantId: string, runId: string, withArtifacts: boolean): Promise<Uint8Array>;
  exportAudit(log: string, write: (line: string) => void): Promise<number>;
  checkPolicy(file: string): Promise<CompiledPolicy>;
  explainPolicy(
    file: string,
    action: string,
    resource: string,
    role: string,
    params: string,
  ): Promise<Explanation>;
  learnPolicy(tenantId: string, runId: string): Promise<SandboxPolicy>;
  scramStatus(): ScramStatus;
  scramTrip(reason: string): ScramStatus;
  probeSandbox(): Promise<SandboxReport>;
}
