import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by store and ledger. */
export const storeCodes = {
  ERR_STORE_UNAVAILABLE: row.transient("The database does not answer; nothing was acknowledged."),
  ERR_ENTRY_TOO_LARGE: row.input("A ledger entry is larger than an entry may be."),
} as const satisfies Record<string, ErrorRow>;
