import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by store and ledger. */
export const storeCodes = {} as const satisfies Record<string, ErrorRow>;
