export { parseScramConfig, type ScramConfig, scramConfig } from "./config.ts";
export { EnvelopeStore } from "./envelope-store.ts";
export { type FrameKind, Frames, readFrame } from "./frames.ts";
export { giveOrder, type OrderOutcome } from "./give-order.ts";
export { HeldLink } from "./held-link.ts";
export { Journal, type JournalLine } from "./journal.ts";
export { readKeyFile, type SentinelKeyEvent, type SentinelKeys, writeKeyFile } from "./key-file.ts";
export { KnownKeys } from "./known-keys.ts";
export { type LatchedStop, type LatchStatus, ScramLatch } from "./latch.ts";
export { type LinkOptions, ScramLink } from "./link.ts";
export { ScramMember, type TerminationHandler } from "./member.ts";
export {
  judgeOrder,
  type Judgement,
  type JudgementContext,
  mergeSignatures,
  type OrderSigner,
  orderSigners,
} from "./order.ts";
export { ENGINE_SOCKET, type EngineOrder, engineOrder, SELF_PROOF_LINK } from "./protocol.ts";
export {
  type JournalRepair,
  readPieces,
  repairJournal,
  repairStatement,
} from "./repair.ts";
export { describeScope, scopeCovers, type WorkOwner } from "./scope.ts";
export { checkInvariants, SCRAM_INVARIANTS } from "./sentinel/invariants.ts";
export { eventIdOf, groupNameOf } from "./sentinel/names.ts";
export { Sentinel } from "./sentinel/sentinel.ts";
export type { SentinelOptions } from "./sentinel/sentinel-options.ts";
export { BEAT_MS, Silence } from "./silence.ts";
export { countLiving, offlineStatus, openEvents, refusalAt } from "./status.ts";
export { findPath, MARKER_VARIABLE, TOOLS_PREFIX } from "./termination.ts";
