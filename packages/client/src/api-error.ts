import type { Problem } from "./generated.ts";

/** What the server refused, or could not do (RFC 9457). It never holds the token. */
export class ApiError extends Error {
  /** The HTTP status. */
  readonly status: number;
  /** A code of docs/errors.md; `ERR_HTTP_ANSWER` where the answer is none of the server's words. */
  readonly code: string;
  /** The exit code that the command line would have: 5 after a stop. */
  readonly exit: number;
  /** How long to wait before the same request is worth another try; null where it is not said. */
  readonly retryAfterMs: number | null;

  constructor(status: number, problem: Partial<Problem>, retryAfterMs: number | null) {
    super(problem.detail ?? `Expected an answer of a Sovereign server, found status ${status}.`);
    this.name = "ApiError";
    this.status = status;
    this.code = problem.code ?? "ERR_HTTP_ANSWER";
    this.exit = problem.exit ?? 1;
    this.retryAfterMs = retryAfterMs;
  }
}
