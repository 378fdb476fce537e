import type { ErrorRow } from "../kinds.ts";

/** Codes thrown by kernel. */
export const kernelCodes = {} as const satisfies Record<string, ErrorRow>;
