import { type ErrorCode, isErrorCode } from "@sovereign/core";

/** A code of the catalogue; what anybody else calls a code is none. */
export function knownCode(code: unknown, otherwise: ErrorCode): ErrorCode {
  return isErrorCode(code) ? code : otherwise;
}
