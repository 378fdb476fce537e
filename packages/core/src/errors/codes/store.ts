import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by store and ledger. */
export const storeCodes = {
  ERR_STORE_UNAVAILABLE: row.transient("The database does not answer; nothing was acknowledged."),
} as const satisfies Record<string, ErrorRow>;
