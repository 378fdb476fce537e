export { isSameHolder } from "./holder.ts";
export { KeyLogReplay } from "./key-log.ts";
export { type KeyRefusal, KeyTable, type KeyWindow } from "./key-table.ts";
