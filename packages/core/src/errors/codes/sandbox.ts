import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by process and sandbox. */
export const sandboxCodes = {} as const satisfies Record<string, ErrorRow>;
