export type { TokenRow } from "./tokens.ts";
export { FEED_PAGE, type FeedOptions, type LogFeed } from "./log-feed.ts";
export {
  type ArchiveKeeper,
  type ArchiveRows,
  type Batch,
  keepArchives,
  type LogRow,
  type OldRun,
  type RecordedArchive,
} from "./archives.ts";
export { dumpDatabase, type DumpedSchema, type DumpedTable, loadDatabase } from "./dump.ts";
export { HeadFile } from "./head-file.ts";
export { embeddedLives } from "./embedded.ts";
export { removeSocketFolder, socketFolderOf } from "./socket-folder.ts";
export type { ClaimedRun, WaitingElsewhere, WorkerPlace } from "./run-queue.ts";
export { type LedgerFinding, repairLedger, setEntryAside } from "./repair.ts";
export { type ArchivedLedger, Store, type StoreOptions, type TenantClaim } from "./store.ts";
