export { FEED_PAGE, type FeedOptions, type LogFeed } from "./log-feed.ts";
export { embeddedLives } from "./embedded.ts";
export { removeSocketFolder, socketFolderOf } from "./socket-folder.ts";
export { type LedgerFinding, repairLedger, setEntryAside } from "./repair.ts";
export { Store, type StoreOptions, type TenantClaim } from "./store.ts";
