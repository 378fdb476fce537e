import { type ErrorCode, errorRow } from "./catalogue.ts";
import type { ErrorKind } from "./kinds.ts";

/** Details of one failure: small, printable, and never a secret. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/**
 * The only error class that the product throws on purpose.
 *
 * `message` says what was expected, what was found and what to do next; `code` is for programs.
 * A `cause` is kept for the log and never printed to a caller who is not trusted.
 */
export class SovereignError extends Error {
  override readonly name = "SovereignError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  /** Fatal for a code that this version does not know. */
  get kind(): ErrorKind {
    return errorRow(this.code).kind;
  }

  /** The process exit code of this failure, 1..5. */
  get exitCode(): number {
    return errorRow(this.code).exit;
  }
}

// As `fixClass` does, which is built on errors.
Object.freeze(SovereignError.prototype);
Object.freeze(SovereignError);

/** True when `error` is ours, optionally with the given code. */
export function isSovereignError(error: unknown, code?: ErrorCode): error is SovereignError {
  return error instanceof SovereignError && (code === undefined || error.code === code);
}
