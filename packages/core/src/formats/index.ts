export { POLICY_DIALECT } from "./action.ts";
export type { Action, ActionContext, Dialect, PolicyDecision, Usage } from "./action.ts";
export { API_SCOPES, type ApiCaller, type ApiScope } from "./api.ts";
export type { ComplianceBundle } from "./bundle.ts";
export {
  type ArtifactRef,
  INSTALLATION_LOG,
  OPERATIONS_STREAM,
  type JsonObject,
  type JsonValue,
  type Mode,
  SCHEMA_VERSION,
} from "./common.ts";
export {
  ACTION_BYTES_MAX,
  type EntryData,
  entryData,
  type EventName,
  type KeyLogHead,
} from "./events.ts";
export {
  ENTRY_BYTES_MAX,
  GENESIS_HASH,
  type LedgerEntry,
  type PlacedEntry,
  type Severity,
} from "./entry.ts";
export type {
  Checksums,
  ExecutionResult,
  FileChecksum,
  GateReceipt,
  ReleaseReceipt,
  GateResult,
  IntentStatus,
  RepositoryRollbackProof,
  SandboxProof,
  StepResult,
  UnchangedStep,
  TapeEvent,
} from "./exec-evidence.ts";
export type { AnswerPack, ExecRequest, QuestionPack } from "./exec-request.ts";
export type {
  ModelBudget,
  ModelCallEnd,
  ModelTotals,
  ModelUsage,
  ModelWire,
} from "./model-call.ts";
export { modelBounds, REFUSALS_TOLD } from "./model-call.ts";
export { issueToTell, meantKey } from "./meant-key.ts";
export { parseEntry } from "./parse-entry.ts";
export { readFormat } from "./read.ts";
export { parseCopy, parseFormat } from "./parse.ts";
export {
  type Approval,
  type ArchiveStatement,
  type BackupStatement,
  type ConfigSnapshot,
  type KeyEvent,
  type KeyPurpose,
  type KeyRecord,
  NAMED_PURPOSES,
  type PolicyBinding,
  type Predicate,
  type PredicateName,
  predicates,
  predicateType,
  type RoleAssignment,
  type RollbackProof,
  type RunProof,
  SLSA_PROVENANCE_TYPE,
  type SlsaProvenance,
  STATEMENT_PAYLOAD_TYPE,
  STATEMENT_TYPE,
  type Statement,
  type Vote,
} from "./predicates.ts";
export type {
  KillReceipt,
  ScramEvent,
  ScramSelfProof,
  ScramInvariant,
  ScramOrder,
  ScramOrigin,
  ScramReason,
  ScramReset,
  ScramScope,
  ScramState,
  ScramTrigger,
} from "./scram.ts";
export { fields, formatSchemas, formats } from "./schemas.ts";
export { SOURCE_SUMMARY_TYPE, type SourceStatement } from "./source-statement.ts";
export type {
  ToolResultPack,
  ToolResultStatement,
  ToolTaskPack,
  ToolTaskStatement,
  ToolType,
  ToolViolation,
  WorkScope,
} from "./tool-packs.ts";
export type { ToolMount, Toolset } from "./toolset.ts";
export type { TraceHead, TraceSeal, TraceStep } from "./trace.ts";
export type { TrustRoot } from "./trust-root.ts";
export type {
  StepName,
  Verdict,
  VerificationReport,
  VerificationStep,
} from "./verification-report.ts";
export {
  type ArchivedData,
  archivedEvent,
  type RestoredData,
  restoredEvent,
} from "./installation-events.ts";
