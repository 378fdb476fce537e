export {
  findToken,
  type IssuedToken,
  issueToken,
  listTokens,
  revokeToken,
  type TokenOwner,
  typedBy,
} from "./api-tokens.ts";
export {
  assertOpened,
  type Installation,
  type InstallationOptions,
  openInstallation,
} from "./installation.ts";
export { requireEndKeys, requireRunKeys, rolesHere, waitingForKeys } from "./keys-in-force.ts";
export { recordLedgerEvent } from "./ledger-record.ts";
export { repairInstallation } from "./ledger-repair.ts";
export { AnchorDuty, anchorInstallation } from "./nodes/journal-anchor.ts";
export { type LeaseHealth, leaseHealth, leaseOfSentinel } from "./nodes/lease-health.ts";
export { type JoinedNode, ownStream, readNodes, scramStreamOf } from "./nodes/membership.ts";
export { issueTenantClaim } from "./tenant-claim.ts";
