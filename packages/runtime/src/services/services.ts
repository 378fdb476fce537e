import type { LedgerFinding } from "../store/index.ts";
import type {
  AnswerPack,
  Envelope,
  GateReceipt,
  JsonObject,
  KeyRecord,
  KeyTable,
  KeyWindow,
  Mode,
  ScramState,
  TrustRoot,
} from "@sovereign/core";
import type { Setting, Settings } from "../home/index.ts";
import type { KeySlot } from "../authority/index.ts";
import type { CaseResult, CompiledPolicy, Explanation, Proposal } from "../policy/index.ts";
import type { RunFilter, RunRow } from "../runs/index.ts";
import type { RunDetails } from "./runs/run-details.ts";
import type { RunLog } from "./runs/run-log.ts";
import type { JournalLine } from "../scram/index.ts";
import type { WorkerServices } from "./workers/worker-services.ts";
import type { ArchiveServices } from "./archive/archive-services.ts";
import type { BackupServices } from "./backup/backup-services.ts";
import type { BreakerServices } from "./breaker-services.ts";
import type { BudgetServices } from "./budgets/budget-services.ts";
import type { IncidentServices } from "./incidents/incident-services.ts";
import type { ModelServices } from "./model-services.ts";
import type { SecretServices } from "./secret-services.ts";
import type { SkillServices } from "./skill-services.ts";
import type { NodeReport } from "./node-services.ts";
import type { InitReport } from "./init/init-services.ts";
import type { UninstallReport } from "./uninstall/uninstall.ts";
import type { TrustReport } from "./exec/read-policy.ts";
import type { BatchReport } from "./batch/batch-runner.ts";
import type { ApiServices, ServerEvent } from "./serve/api-ports.ts";
import type { CheckedToken } from "./serve/check-token.ts";
import type { IssuedToken } from "../installation/index.ts";
import type { TokenInput, TokenReport } from "./token-services.ts";
import type { GoalRunInput, SkillReport } from "./goals/goal-services.ts";
import type { RunProofReport } from "./runs/run-proof.ts";
import type { TraceReport } from "./runs/run-trace.ts";
import type {
  ExecInput,
  ExecFiles,
  ExecPlanReport,
  ExecStatusReport,
} from "./exec/exec-reports.ts";
import type {
  AgentContinueInput,
  AgentDoctorRow,
  AgentRunInput,
  DispatchInput,
  FollowInput,
  PackFiles,
  PackInput,
  ToolHealthRow,
} from "./agents/agent-reports.ts";
import type { PackReport } from "@sovereign/verify";
import type { TryModel } from "./agents/tool-health.ts";
import type { BackgroundReport } from "./agents/background.ts";
import type { AgentCompareInput, AgentCompareReport } from "./agents/compare/compare-services.ts";
import type { RunReport, RunInput } from "./runs/run-result.ts";
import type {
  ScramInput,
  ScramOutcome,
  ScramRemote,
  ScramServeInput,
  WatchEvent,
  ScramReport,
  ScramRepairReport,
  DrillReport,
  RunnerHealth,
  DoctorReport,
} from "./scram/scram-reports.ts";

/** What a door to the product can do: the command line, and whoever comes beside it. */
export interface Services
  extends ModelServices,
    IncidentServices,
    BudgetServices,
    SecretServices,
    SkillServices,
    WorkerServices,
    BreakerServices,
    ArchiveServices,
    BackupServices {
  readonly version: string;
  readonly home: string;
  /** How a door shows what happens. */
  readonly display: Pick<Settings, "debug" | "noColor">;
  /** Every setting, with its value and where that comes from. */
  settings(): readonly Setting[];
  /** Throws where a stop covers this work, before anything is started for it. */
  refuseWhileTripped(tenantId: string, runId: string | null): void;
  run(
    file: string,
    input: RunInput & { readonly mode: Mode; readonly faults: readonly string[] },
  ): Promise<RunReport>;
  resume(runId: string, input: RunInput): Promise<RunReport>;
  /** End a run that has not ended. */
  cancelRun(
    runId: string,
    input: RunInput,
    cancelled: { readonly by: string; readonly reason: string },
  ): Promise<RunReport>;
  approve(
    tenantId: string,
    runId: string,
    role: string,
  ): Promise<{
    stepId: string;
    required: number;
    given: readonly string[];
    /** The command that goes on. */
    next: string;
  }>;
  listRuns(tenantId: string, wanted: RunFilter): Promise<RunRow[]>;
  showRun(tenantId: string, runId: string): Promise<RunDetails>;
  /** Have a plan made or read for a tenant's goal, and carry it out. */
  runGoal(input: GoalRunInput): Promise<RunReport>;
  /** Judge a run's evidence anew, and hold every row of it against that. */
  proveRun(tenantId: string, runId: string): Promise<RunProofReport>;
  /** The steps of a run, as the ledger says them. */
  traceRun(tenantId: string, runId: string): Promise<TraceReport>;
  listSkills(): readonly SkillReport[];
  /** What the commands of a run said; of one step where it is named. */
  readRunLogs(tenantId: string, runId: string, step: string | null): Promise<readonly RunLog[]>;
  /** The same, each as it is recorded, until nobody works on the run any more. */
  followRunLogs(
    tenantId: string,
    runId: string,
    step: string | null,
    signal: AbortSignal,
    tell: (log: RunLog) => void,
  ): Promise<void>;
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
  /** @param archives files of archives, for a run whose entries are in them */
  exportBundle(
    tenantId: string,
    runId: string,
    withArtifacts: boolean,
    archives?: readonly string[],
  ): Promise<Uint8Array>;
  /**
   * @param signs true to sign the log's head first: what is written holds all that it is over
   * @param archives files of archives, for entries that are in them
   * @returns the number of entries, and the head's note
   */
  exportAudit(
    log: string,
    write: (line: string) => void,
    signs: boolean,
    archives?: readonly string[],
  ): Promise<{ readonly entries: number; readonly note: string | null }>;
  /** Write a policy to begin with into a repository; nothing of the repository is run. */
  initRepository(
    folder: string,
    how: { readonly dryRun: boolean; readonly force: boolean },
  ): Promise<InitReport>;
  /** Accept a repository's own policy as it is now, or only say what it allows. */
  trustPolicy(place: string, how: { readonly dryRun: boolean }): Promise<TrustReport>;
  /** Say what the installation has on this machine, and with `yes` remove it. */
  uninstall(yes: boolean): Promise<UninstallReport>;
  checkPolicy(file: string): Promise<CompiledPolicy>;
  explainPolicy(
    file: string,
    action: string,
    resource: string,
    role: string,
    params: string,
  ): Promise<Explanation>;
  /** Hold a policy against a table of expected decisions; no policy named is the repository's own. */
  testPolicy(
    table: string,
    of: { readonly policy: string | undefined; readonly repository: string },
  ): Promise<{ readonly policy: string; readonly cases: readonly CaseResult[] }>;
  /** `denials`: of how many a rule could be proposed. */
  learnPolicy(tenantId: string, runId: string): Promise<Proposal & { readonly denials: number }>;
  planRequest(files: ExecFiles, tenantId: string): Promise<ExecPlanReport>;
  runRequest(files: ExecFiles, input: ExecInput & { readonly mode: Mode }): Promise<RunReport>;
  resumeRequest(runId: string, input: ExecInput): Promise<RunReport>;
  requestStatus(runId: string, input: ExecInput): Promise<ExecStatusReport>;
  rollbackRequest(runId: string, input: ExecInput): Promise<RunReport>;
  judgeRun(tenantId: string, runId: string): Promise<GateReceipt>;
  answerTemplate(tenantId: string, runId: string): Promise<AnswerPack>;
  applyAnswers(tenantId: string, runId: string, file: string): Promise<void>;
  /** Have a coding agent work on a repository. */
  runAgent(input: AgentRunInput): Promise<RunReport>;
  /** A task pack of what was typed, in canonical form. Nothing is run or recorded. */
  packTask(input: PackInput): Promise<Uint8Array>;
  /** Have a tool carry out a task pack of somebody's. */
  dispatchTool(input: DispatchInput): Promise<RunReport>;
  /** What an agent's run came to, as a result pack in canonical form. */
  collectResult(tenantId: string, runId: string): Promise<Uint8Array>;
  /** Hold a result pack that somebody made against its task, a repository and the ledger. */
  verifyPack(files: PackFiles, tenantId: string): Promise<PackReport>;
  /** The state of each tool that packs know. @param tryModel null to make no call */
  toolHealth(tenantId: string, tryModel: TryModel | null): Promise<readonly ToolHealthRow[]>;
  /** Carry out a command line of `agent run` in a process of its own. */
  startAgentInBackground(words: readonly string[]): Promise<BackgroundReport>;
  /** Give one task to several agents, and have validators vote on what they come to. */
  compareAgents(input: AgentCompareInput): Promise<AgentCompareReport>;
  /** Go on with an agent's run: hold its result, bring it back, or throw it away. */
  continueAgent(runId: string, input: AgentContinueInput): Promise<RunReport>;
  /** What the agent changed, as a patch. */
  agentDiff(tenantId: string, runId: string): Promise<Uint8Array>;
  followAgent(tenantId: string, runId: string, input: FollowInput): Promise<void>;
  /** Which agents' programs are installed here. */
  /** @param prove start the canary of each installed agent */
  agentDoctor(tenantId: string, prove: boolean): Promise<readonly AgentDoctorRow[]>;
  runBatch(file: string, input: RunInput): Promise<BatchReport>;
  health(): Promise<RunnerHealth>;
  /** What lies in the data folder and is not as it should be, in words. Nothing of it stops work. */
  dataWarnings(): Promise<readonly string[]>;
  /** One line where nothing bounds what a path owns of the kernel's memory; null where it is bounded. */
  unboundedMemory(): string | null;
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
  /** What a program that serves one tenant makes its claims with: a secret. */
  tenantClaim(tenantId: string, replace: boolean): Promise<JsonObject>;
  /** What the HTTP API does, over one installation that stays open until it is closed. */
  openServer(onEvent: (event: ServerEvent) => void, carries?: boolean): ApiServices;
  /** Make a token of the HTTP API for a tenant; nobody is shown it again. */
  createToken(input: TokenInput): Promise<IssuedToken>;
  listTokens(tenantId: string): Promise<readonly TokenReport[]>;
  revokeToken(tenantId: string, tokenId: string): Promise<void>;
  /** Judge a token as the HTTP API does, and say what is wrong with it. */
  checkToken(file: string): Promise<CheckedToken>;
  /** Move what is no evidence in the ledger out of the way. */
  repairLedger(acceptRollback: boolean): Promise<readonly LedgerFinding[]>;
  /** Take switches of models back that runs of a tenant made, and ended without recording them. */
  repairRegistry(tenantId: string): Promise<readonly LedgerFinding[]>;
}
