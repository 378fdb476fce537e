import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by scram. */
export const scramCodes = {} as const satisfies Record<string, ErrorRow>;
