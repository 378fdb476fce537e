export {
  type ErrorCode,
  type ErrorDetails,
  type ErrorKind,
  errorCatalogue,
  isSovereignError,
  SovereignError,
} from "./errors/index.ts";
export {
  type Action,
  type ActionContext,
  type PolicyDecision,
  type Usage,
  type ComplianceBundle,
  type ArtifactRef,
  INSTALLATION_LOG,
  type JsonObject,
  type JsonValue,
  type Mode,
  SCHEMA_VERSION,
  ENTRY_BYTES_MAX,
  type EntryData,
  entryData,
  GENESIS_HASH,
  type KeyLogHead,
  type LedgerEntry,
  type PlacedEntry,
  type Severity,
  parseFormat,
  type Approval,
  type ConfigSnapshot,
  type KeyEvent,
  type KeyPurpose,
  type KeyRecord,
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
  fields,
  formatSchemas,
  formats,
  type TrustRoot,
  type StepName,
  type Verdict,
  type VerificationReport,
  type VerificationStep,
} from "./formats/index.ts";
export {
  base64Decode,
  base64Encode,
  concatBytes,
  equalBytes,
  hexDecode,
  hexEncode,
  utf8Decode,
  utf8Encode,
} from "./bytes/index.ts";
export { digestOf, sha256, sha256Hex } from "./digest/index.ts";
export {
  type Envelope,
  pae,
  parseEnvelope,
  signEnvelope,
  type VerifiedEnvelope,
  verifyEnvelope,
} from "./dsse/index.ts";
export { checkSignature, type PublicKey, parsePublicKey, type Signer } from "./ed25519/index.ts";
export { canonicalBytes, canonicalize, JSON_DEPTH_MAX } from "./json/index.ts";
export { type JsonLimits, parseCanonicalJson, parseStrictJson } from "./json/index.ts";
export { KeyLogReplay } from "./keys/index.ts";
export { type KeyRefusal, KeyTable, type KeyWindow } from "./keys/index.ts";
export {
  type PlacedLeaf,
  proveConsistency,
  proveInclusion,
  proveInclusionSet,
  type RangeRoot,
  verifyConsistency,
  verifyInclusion,
  verifyInclusionSet,
} from "./merkle/index.ts";
export { emptyRoot, Frontier, leafHash, nodeHash, splitOf } from "./merkle/index.ts";
export {
  type Checkpoint,
  openCheckpoint,
  parseCheckpointText,
  signCheckpoint,
} from "./note/index.ts";
export { type NoteKey, type OpenedNote, openNote, signNote } from "./note/index.ts";
export {
  createStatement,
  parseAnyStatement,
  parseStatement,
  type TypedStatement,
} from "./statement/index.ts";
