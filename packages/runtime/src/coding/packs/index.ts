export { issueTaskPack } from "./issue-pack.ts";
export { type GivenPack, PACK_BYTES_MAX, parseResultPack, parseTaskPack } from "./read-pack.ts";
