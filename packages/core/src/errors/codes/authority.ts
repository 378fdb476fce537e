import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by authority. */
export const authorityCodes = {} as const satisfies Record<string, ErrorRow>;
