import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by verify. */
export const verifyCodes = {} as const satisfies Record<string, ErrorRow>;
