import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by policy. */
export const policyCodes = {} as const satisfies Record<string, ErrorRow>;
