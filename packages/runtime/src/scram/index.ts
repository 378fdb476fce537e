export { parseScramConfig, type ScramConfig, scramConfig } from "./config.ts";
export { ScramMember, type TerminationHandler } from "./embedded-member.ts";
export { EnvelopeStore } from "./envelope-store.ts";
export { type FrameKind, Frames, readFrame } from "./frames.ts";
export { giveOrder, type OrderOutcome } from "./give-order.ts";
export { Journal, JOURNAL_BYTES_MAX, type JournalLine } from "./journal.ts";
export { readKeyFile, type SentinelKeyEvent, type SentinelKeys, writeKeyFile } from "./key-file.ts";
export { KnownKeys } from "./known-keys.ts";
export { ANSWER_SPARES, overwrite } from "./latch-room.ts";
export { type LatchedStop, type LatchStatus, ScramLatch } from "./latch.ts";
export { leaveCall } from "./leave-call.ts";
export { eventIdOf, groupNameOf } from "./names.ts";
export {
  type Judgement,
  type JudgementContext,
  judgeOrder,
  mergeSignatures,
  type OrderSigner,
  orderSigners,
} from "./order-judgement.ts";
export { waitingCalls } from "./pending.ts";
export {
  type ClientMessage,
  clientMessage,
  ENGINE_SOCKET,
  type EngineMessage,
  engineMessage,
  type EngineOrder,
  engineOrder,
  SELF_PROOF_LINK,
  SENTINEL_SOCKET,
  type SentinelMessage,
  type StartedPathMessage,
} from "./protocol.ts";
export { HeldLink } from "./reconnecting-link.ts";
export { type JournalRepair, readPieces, repairJournal, repairStatement } from "./repair.ts";
export { describeScope, scopeCovers, type WorkOwner } from "./scope.ts";
export { type LinkOptions, ScramLink } from "./sentinel-link.ts";
export { putAway, readingOf, readSignal, type Signal, watchSignalFile } from "./signal-file.ts";
export { BEAT_MS, POINTS, RAN_MAX_MS, RAN_MIN_MS, Silence } from "./silence.ts";
export { Slices } from "./slices.ts";
export {
  countLiving,
  doubtOf,
  journalStops,
  offlineStatus,
  openEvents,
  refusalAt,
  refusalOfWork,
  stateOfStops,
} from "./status.ts";
export { giveBack, latchEverything, mendSwitchFolder } from "./switch-folder.ts";
export {
  ENGINE_GROUP,
  findOurs,
  findPath,
  findUnregistered,
  killPaths,
  type KillReport,
  type KillTargets,
  type LivePath,
  MARKER_VARIABLE,
  TOOLS_PREFIX,
} from "./termination.ts";
