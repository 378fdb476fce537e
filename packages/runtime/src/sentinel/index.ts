export { checkInvariants, SCRAM_INVARIANTS } from "./invariants.ts";
export type { SentinelOptions } from "./sentinel-options.ts";
export { Sentinel } from "./sentinel.ts";
