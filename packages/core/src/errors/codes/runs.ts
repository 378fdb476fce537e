import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by runs, pipeline and cli. */
export const runsCodes = {} as const satisfies Record<string, ErrorRow>;
