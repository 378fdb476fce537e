export { consentsIn } from "./consents.ts";
export { countHolders, holderOf, isSameHolder } from "./holder.ts";
export { KeyLogReplay } from "./key-log.ts";
export { type KeyRefusal, KeyTable, type KeyWindow } from "./key-table.ts";
