export type { TokenRow } from "./tokens.ts";
export { FEED_PAGE, type FeedOptions, type LogFeed } from "./log-feed.ts";
export { dumpDatabase, type DumpedSchema, type DumpedTable, loadDatabase } from "./dump.ts";
export { HeadFile } from "./head-file.ts";
export { embeddedLives } from "./embedded.ts";
export { removeSocketFolder, socketFolderOf } from "./socket-folder.ts";
export type { ClaimedRun, WaitingElsewhere, WorkerPlace } from "./run-queue.ts";
export { type LedgerFinding, repairLedger, setEntryAside } from "./repair.ts";
export { Store, type StoreOptions, type TenantClaim } from "./store.ts";
