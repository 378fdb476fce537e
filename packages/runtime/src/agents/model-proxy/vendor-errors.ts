import { type ErrorCode, errorRow, type JsonObject } from "@sovereign/core";

const ANTHROPIC: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  504: "timeout_error",
  529: "overloaded_error",
};
const OPENAI: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  402: "insufficient_quota",
  403: "permission_error",
  404: "not_found_error",
  413: "invalid_request_error",
  429: "rate_limit_error",
};

/**
 * An error as the client's vendor would word it, so that a CLI ends as it does for its vendor: 402
 * and 403 end every one of them at the first try.
 */
export function errorBody(anthropic: boolean, status: number, message: string): JsonObject {
  const type =
    (anthropic ? ANTHROPIC : OPENAI)[status] ?? (anthropic ? "api_error" : "server_error");
  if (anthropic) return { type: "error", error: { type, message } };
  return { error: { message, type, param: null, code: type } };
}

/** The status that a refusal of ours has. The kill switch's own, 423, would be tried again. */
export function statusOf(code: ErrorCode): number {
  const { http } = errorRow(code);
  return http === 423 ? 403 : http;
}
