import { type ErrorRow, row } from "../kinds.ts";

const input = (http: number, text: string): ErrorRow => ({ ...row.input(text), http });

/** Codes thrown by http, as a server and as a client. */
export const httpCodes = {
  ERR_HTTP_LISTEN: row.fatal("The server cannot listen where it is told to."),
  ERR_HTTP_CONFIG: row.input(
    "The options of the server or of the client cannot be used in this way.",
  ),
  ERR_HTTP_NOT_FOUND: input(404, "There is nothing at this path."),
  ERR_HTTP_METHOD: input(405, "This path does not support the method."),
  ERR_HTTP_HEADER: input(400, "The request has a header twice that it may have once."),
  ERR_HTTP_HOST: input(421, "The request names a host that is not this one."),
  ERR_HTTP_ORIGIN: {
    ...row.denied("Requests of web pages (with an Origin header) are refused."),
    http: 403,
  },
  ERR_HTTP_TOO_LARGE: input(413, "The request's body is larger than the limit."),
  ERR_HTTP_MEDIA_TYPE: input(415, "The media type of the request's body is not supported."),
  ERR_HTTP_RATE: {
    ...row.transient(
      "Too many requests were refused, or one order came too often: wait and try again.",
    ),
    http: 429,
  },
  ERR_HTTP_FAILED: row.fatal(
    "The server could not carry the request out. The request itself is not at fault.",
  ),
  ERR_HTTP_UNREACHABLE: row.transient("The server cannot be reached, or it closed the connection."),
  ERR_HTTP_UNAUTHENTICATED: {
    ...row.denied("The request has no token that counts."),
    http: 401,
  },
  ERR_HTTP_SCOPE: row.denied("The token does not have the scope that this needs."),
  ERR_HTTP_REQUEST: row.input("The request does not have the expected form."),
  ERR_HTTP_BUSY: {
    ...row.transient("The server is at work on as much as it takes: try again."),
    http: 503,
  },
  ERR_OIDC_UNAVAILABLE: {
    ...row.transient(
      "The identity provider's keys cannot be had, so none of its tokens counts: try again.",
    ),
    http: 503,
  },
  ERR_TOKEN_REFUSED: row.denied("The token does not count."),
  ERR_TOKEN_NONE: row.input("The server needs a token of at least one tenant."),
  ERR_TOKEN_INVALID: row.input("A token cannot be made in this way."),
  ERR_TOKEN_NOT_FOUND: input(404, "There is no such token of this tenant."),
  ERR_HTTP_ANSWER: {
    ...row.integrity("The server's answer does not have the expected form."),
    exit: 1,
  },
} as const satisfies Record<string, ErrorRow>;
