import { errorCatalogue, type ErrorCode, isSovereignError, SovereignError } from "@sovereign/core";

/** What a request may send. */
export const BODY_BYTES_MAX = 512 * 1024;

/** Problem details (RFC 9457), with our code and the exit code that the command line would have. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly exit: number;
}

/** What says something about the caller's own request is told; paths and causes are ours. */
const TOLD =
  /^ERR_(HTTP_(?!FAILED)|JSON_|FORMAT_|PLAN_|PLANNER_|BUDGET_|SKILL_(INPUT|UNKNOWN)|IDEMPOTENCY_|REQUEST_INVALID|POLICY_DENIED|RUN_(UNSEALED|AT_WORK)|TENANT_)/;

/** What Fastify itself refuses. */
const OF_FASTIFY: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: [
    "ERR_HTTP_TOO_LARGE",
    `Expected a body of at most ${BODY_BYTES_MAX} bytes.`,
  ],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ["ERR_HTTP_MEDIA_TYPE", "Expected application/json."],
  FST_ERR_CTP_EMPTY_JSON_BODY: ["ERR_HTTP_REQUEST", "Expected a body."],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    "ERR_HTTP_REQUEST",
    "Expected a body as long as its Content-Length.",
  ],
  FST_ERR_BAD_URL: ["ERR_HTTP_REQUEST", "Expected a path that can be read."],
  FST_ERR_MAX_PARAM_LENGTH: ["ERR_HTTP_NOT_FOUND", "There is nothing at this path."],
};

/** @param error whatever was thrown while a request was answered */
export function problemOf(error: unknown): Problem {
  const known = knownError(error);
  const { code } = known;
  const { http, text, exit } = errorCatalogue[code];
  // A stop is no fault of the request: the same request is good once two people have reset it.
  const status = exit === 5 ? 503 : http;
  const detail = TOLD.test(code) ? known.message : text;
  return { type: `urn:sovereign:error:${code}`, title: text, status, detail, code, exit };
}

function knownError(error: unknown): SovereignError {
  if (isSovereignError(error)) return error;
  const { code = "", statusCode = 500 } = (error ?? {}) as { code?: string; statusCode?: number };
  const found = OF_FASTIFY[code];
  if (found !== undefined) return new SovereignError(found[0], found[1], {}, error);
  const isTheirs = statusCode >= 400 && statusCode < 500;
  const text = "The request cannot be read.";
  return new SovereignError(isTheirs ? "ERR_HTTP_REQUEST" : "ERR_HTTP_FAILED", text, {}, error);
}
