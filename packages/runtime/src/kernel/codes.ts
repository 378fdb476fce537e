import { type ErrorCode, errorCatalogue } from "@sovereign/core";

/** A code of the catalogue; what anybody else calls a code is none. */
export function knownCode(code: unknown, otherwise: ErrorCode): ErrorCode {
  return typeof code === "string" && Object.hasOwn(errorCatalogue, code)
    ? (code as ErrorCode)
    : otherwise;
}
