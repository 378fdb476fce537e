export { type ErrorCode, errorCatalogue, errorRow, isErrorCode } from "./catalogue.ts";
export type { ErrorKind, ErrorRow } from "./kinds.ts";
export { type ErrorDetails, isSovereignError, SovereignError } from "./sovereign-error.ts";
