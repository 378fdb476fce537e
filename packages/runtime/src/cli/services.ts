import type { LedgerFinding } from "../store/index.ts";
import type {
  AnswerPack,
  Envelope,
  ErrorCode,
  GateReceipt,
  JsonObject,
  KeyRecord,
  KeyTable,
  KeyWindow,
  Mode,
  ScramReason,
  ScramScope,
  ScramSelfProof,
  ScramState,
  TrustRoot,
  VerificationReport,
} from "@sovereign/core";
import type { KeySlot } from "../authority/index.ts";
import type { Progress } from "../pipeline/index.ts";
import type { CompiledPolicy, Explanation, Proposal } from "../policy/index.ts";
import type { RunRow } from "../runs/index.ts";
import type { SandboxLevel, SandboxReport } from "../sandbox/index.ts";
import type { ExecProgress } from "../executor/index.ts";
import type { JournalLine, LatchedStop, OrderOutcome } from "../scram/index.ts";

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
  readonly onProgress: (progress: Progress | ExecProgress) => void;
}

export interface ExecInput extends RunInput {
  /** How long to wait for another run on the same repository, in milliseconds. */
  readonly waitMs: number;
}

/** The files of an execution: a request, a policy, and a folder of the repository. */
export interface ExecFiles {
  readonly request: string;
  readonly policy: string;
  readonly repository: string;
}

/** What one operation of a request would meet. */
export interface PlannedDecision {
  readonly step: string;
  readonly operation: string;
  readonly type: string;
  readonly resource: string;
  readonly effect: "allow" | "deny" | "step_up";
  readonly why: string;
}

export interface ExecPlanReport {
  readonly request: string;
  readonly digest: string;
  readonly repository: string;
  readonly base: string;
  readonly limits: {
    readonly files: number;
    readonly file_bytes: number;
    readonly timeout_ms: number;
  };
  readonly decisions: readonly PlannedDecision[];
}

export interface ExecStatusReport {
  readonly runId: string;
  readonly status: string;
  readonly reason: string | null;
  readonly repository: string;
  readonly base: string;
  readonly broughtTo: string | null;
  readonly head: string;
  readonly recovery: string;
  readonly place: string;
  readonly rollback: { readonly run: string; readonly status: string } | null;
}

/** What an order says. */
export interface ScramInput {
  readonly scope: ScramScope;
  readonly reason: ScramReason;
  readonly statement: string | null;
  readonly metadata: JsonObject;
}

/** An order was carried out, or waits for the other's signature. */
export type ScramOutcome = OrderOutcome & {
  /** Of a server's answer: whether the sentinel's signature could be checked here. */
  readonly checked?: boolean;
};

/** A server of the kill switch, on this or another machine. */
export interface ScramRemote {
  readonly url: string;
  /** A file with the certificates of those who may vouch for it; null for the system's. */
  readonly ca: string | null;
  /** Files with a certificate and its key, for a server that lets in only whom it knows. */
  readonly clientCert: string | null;
  readonly clientKey: string | null;
  /** The installation that it serves; null for that of the data folder here. */
  readonly installation: string | null;
}

/** How to take orders over HTTP. Files are named; `signal` ends it. */
export interface ScramServeInput {
  readonly listen: string;
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
  readonly clientCa: string | null;
  readonly plaintext: boolean;
  readonly names: readonly string[];
  readonly signal: AbortSignal;
  readonly onEvent: (event: ScramServeEvent) => void;
}

/** What goes on in a watch over the other machines of an installation. */
export type WatchEvent =
  | { readonly event: "watching"; readonly node: string }
  /** What is ordered elsewhere is not heard: as long as a lease, then nothing runs here. */
  | { readonly event: "unheard"; readonly why: string }
  | { readonly event: "heard" }
  /** There is no watch. */
  | { readonly event: "unwatched"; readonly why: string };

/** What goes on in a server of the kill switch. */
export type ScramServeEvent =
  | WatchEvent
  | { readonly event: "listening"; readonly url: string; readonly keys: number }
  /** `recorded`: what was stopped since is in the ledger. */
  | { readonly event: "sentinel.lost" | "sentinel.back" | "recorded" }
  | { readonly event: "stopped"; readonly outcome: JsonObject };

export interface ScramReport {
  readonly state: ScramState;
  readonly stops: readonly LatchedStop[];
  /** False when the latch is there and cannot be read: everything is stopped. */
  readonly readable: boolean;
  /** Why everything is stopped, or what waits to stop it; null where the stops say all. */
  readonly trouble: string | null;
  /** What the sentinel says of itself; null when none answers. */
  readonly sentinel: JsonObject | null;
  /** What came of the switch's trial of itself; null where no sentinel answers. */
  readonly selfProof?: SelfProofHealth | null;
  /** Where none answers: the installation's processes that live, by a look at the process table. */
  readonly living?: number;
  /** Null where no other machine uses the database. */
  readonly lease: LeaseHealth | null;
}

/** What became of the sentinel's journal. */
export interface ScramRepairReport {
  /** False where nothing was wrong with it. */
  readonly repaired: boolean;
  /** The stop that holds until two keys reset it. */
  readonly event_id: string | null;
  readonly kept: number;
  readonly lost: number;
  readonly unreadable: number;
  /** Lines that could be read and fit nowhere: kept beside the chain. */
  readonly salvaged: number;
  readonly from_ledger: number;
  /** The name of what stood in the journal's place. */
  readonly aside: string | null;
  /** Why the ledger could not be asked for what it holds of the journal. */
  readonly ledger: string | null;
}

/** Whether the switch has proved lately that what it kills is dead. */
export interface SelfProofHealth {
  readonly state: "passed" | "failed" | "overdue" | "waiting" | "off";
  readonly age_seconds: number | null;
  readonly last: ScramSelfProof | null;
}

/** Whether this machine hears of the others of its installation, without which nothing runs here. */
export interface LeaseHealth {
  /** How long it is good after the log was last read to its end. */
  readonly ms: number;
  /** `ended`: who should read cannot. `unwatched`: nobody reads, so nothing is heard; and nothing runs. */
  readonly state: "live" | "ended" | "unwatched";
  readonly left_ms: number;
  /** When the reading that it is good from began, and the pid of who read; null before the first. */
  readonly read_at: string | null;
  readonly read_by: number | null;
}

/** A rehearsal's outcome. Times are from the order's receipt to verified death. */
export interface DrillReport {
  readonly trials: number;
  readonly paths: number;
  readonly level: string;
  readonly reaped_ms: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Processes of the paths that an independent look at the process table found afterwards. */
  readonly survivors: number;
  readonly over_bound: number;
}

/** What became of one action of a batch. What never began is told apart from what was ended. */
export interface BatchActionReport {
  readonly id: string;
  readonly state: "completed" | "killed" | "failed" | "refused" | "not_started";
  readonly code: ErrorCode | null;
}

/** How a batch ended: stopped by the kill switch, done whole, or failed. */
export interface BatchReport {
  readonly status: "SCRAM_ABORT" | "BATCH_COMMITTED" | "BATCH_FAILED";
  readonly batchId: string;
  readonly runId: string;
  readonly reason: string | null;
  readonly code: ErrorCode | null;
  readonly actions: readonly BatchActionReport[];
  readonly bundle: string;
  readonly trustRoot: string;
}

export interface RunnerHealth {
  readonly runner_status: "HEALTHY" | "HALTED" | "UNAVAILABLE";
  readonly scram_state: ScramState | "UNKNOWN";
  readonly scram_armed: boolean;
  readonly scram_active: boolean;
  readonly scram_complete: boolean;
  readonly reason: string | null;
  readonly lease: LeaseHealth | null;
  readonly self_proof: SelfProofHealth | null;
}

/** How many paths at once this machine was seen to kill within the bound, and what each takes. */
export interface PathCapacity {
  readonly paths: number;
  readonly path_ms: number;
}

/** What `sovereign doctor` finds. */
export interface DoctorReport extends SandboxReport {
  /** Null where it was not measured since the machine started. */
  readonly capacity: PathCapacity | null;
  /** Why it could not be measured now, as on a machine that is too busy; null where nothing failed. */
  readonly unmeasured: string | null;
  /** With G0 work runs without a sandbox where none can be had. */
  readonly minimum_level: SandboxLevel;
}

/** One machine of the installation, as the ledger has it. */
export interface NodeReport {
  readonly node_id: string;
  readonly host: string;
  readonly joined_at: string;
  /** When its kill switch last recorded anything. */
  readonly last_seen: string | null;
  /** How many of its controls watch the log now, as far as the database lets us see. */
  readonly watching: number;
  /** Stops that no reset has lifted there. */
  readonly stops: readonly string[];
  readonly here: boolean;
  /** How long work may go on here without word of the others; null elsewhere, and where none is needed. */
  readonly lease_left_ms: number | null;
}

/** What the command line can do. `main/` implements it over the real parts. */
export interface Services {
  readonly version: string;
  readonly home: string;
  /** Throws where a stop covers this work, before anything is started for it. */
  refuseWhileTripped(tenantId: string, runId: string | null): void;
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
  status(): Promise<{ home: string; database: string; installation: string; scram: ScramState }>;
  initKeys(slots: readonly KeySlot[]): Promise<KeyRecord[]>;
  /** All of them or none. `another`: also beside a key of the same purpose and name. */
  addKeys(slots: readonly KeySlot[], another: boolean): Promise<KeyRecord[]>;
  listKeys(): Promise<KeyTable>;
  /** A new key in the place of all others of its purpose (and role). */
  replaceKey(slot: KeySlot, reason: string): Promise<KeyRecord>;
  rotateKey(keyId: string, reason: string): Promise<KeyRecord>;
  revokeKey(keyId: string, reason: string, distrustAll: boolean): Promise<KeyRecord>;
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
  learnPolicy(tenantId: string, runId: string): Promise<Proposal>;
  planRequest(files: ExecFiles, tenantId: string): Promise<ExecPlanReport>;
  runRequest(files: ExecFiles, input: ExecInput & { readonly mode: Mode }): Promise<RunReport>;
  resumeRequest(runId: string, input: ExecInput): Promise<RunReport>;
  requestStatus(runId: string, input: ExecInput): Promise<ExecStatusReport>;
  rollbackRequest(runId: string, input: ExecInput): Promise<RunReport>;
  judgeRun(tenantId: string, runId: string): Promise<GateReceipt>;
  answerTemplate(tenantId: string, runId: string): Promise<AnswerPack>;
  applyAnswers(tenantId: string, runId: string, file: string): Promise<void>;
  runBatch(file: string, input: RunInput): Promise<BatchReport>;
  health(): Promise<RunnerHealth>;
  /** What lies in the data folder and is not as it should be, in words. Nothing of it stops work. */
  dataWarnings(): Promise<readonly string[]>;
  scramStatus(): Promise<ScramReport>;
  /** Stop, with both keys, or with the prepared order in a file. Needs no database. */
  scramActivate(
    input: ScramInput & {
      readonly operatorKey: string;
      readonly architectKey: string;
      readonly order: string | null;
      readonly remote: ScramRemote | null;
    },
  ): Promise<ScramOutcome>;
  /** Have other machines hear of a stop; says what that rests on. Null where there are no others. */
  scramSpread(): Promise<"replicated" | "primary" | null>;
  scramAuthorize(
    input: ScramInput & {
      readonly as: "operator" | "architect";
      readonly key: string;
      readonly remote: ScramRemote | null;
    },
  ): Promise<ScramOutcome>;
  scramPrepare(
    input: ScramInput & {
      readonly operatorKey: string;
      readonly architectKey: string;
      readonly validMs: number;
      readonly installation: string | null;
    },
  ): Promise<Envelope>;
  scramReset(input: {
    readonly operatorKey: string;
    readonly architectKey: string;
    readonly statement: string;
  }): Promise<ScramReport>;
  /** Make the sentinel's journal whole again; everything is stopped afterwards. */
  scramRepair(): Promise<ScramRepairReport>;
  scramKeys(): Promise<readonly KeyWindow[]>;
  scramLog(): Promise<readonly JournalLine[]>;
  /** Take orders over HTTP until the signal. */
  scramServe(input: ScramServeInput): Promise<void>;
  scramDrill(input: { readonly paths: number; readonly trials: number }): Promise<DrillReport>;
  /** What another machine needs to become a node of this installation. Public. */
  exportNode(): Promise<JsonObject>;
  /** Make an empty data folder a node of the installation that a file names. */
  joinNode(file: string): Promise<{ installation: string }>;
  listNodes(): Promise<readonly NodeReport[]>;
  /** Read the other nodes' orders until told to end. */
  watchNodes(signal: AbortSignal, onEvent: (event: WatchEvent) => void): Promise<void>;
  probeSandbox(measure: boolean, tell: (text: string) => void): Promise<DoctorReport>;
  /** Move what is no evidence in the ledger out of the way. */
  repairLedger(acceptRollback: boolean): Promise<readonly LedgerFinding[]>;
}
