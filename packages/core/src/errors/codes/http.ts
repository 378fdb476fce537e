import { type ErrorRow, row } from "../kinds.ts";

const input = (http: number, text: string): ErrorRow => ({ ...row.input(text), http });

/** Codes thrown by http, as a server and as a client. */
export const httpCodes = {
  ERR_HTTP_LISTEN: row.fatal("The server can not listen where it is told to."),
  ERR_HTTP_CONFIG: row.input("The server may not be run in this way."),
  ERR_HTTP_NOT_FOUND: input(404, "There is nothing at this path."),
  ERR_HTTP_METHOD: input(405, "This path does not know the method."),
  ERR_HTTP_HEADER: input(400, "The request has a header twice that it may have once."),
  ERR_HTTP_HOST: input(421, "The request names a host that is not this one."),
  ERR_HTTP_ORIGIN: { ...row.denied("Pages in a browser may not ask here."), http: 403 },
  ERR_HTTP_TOO_LARGE: input(413, "The request's body is larger than the limit."),
  ERR_HTTP_MEDIA_TYPE: input(415, "The request's body is of a type that is not taken."),
  ERR_HTTP_RATE: { ...row.transient("Too much from there was refused already."), http: 429 },
  ERR_HTTP_FAILED: row.fatal("The request failed here, through no fault of the caller."),
  ERR_HTTP_UNREACHABLE: row.transient("The server can not be reached, or broke off."),
  ERR_HTTP_ANSWER: {
    ...row.integrity("The server's answer is not one that it should give."),
    exit: 1,
  },
} as const satisfies Record<string, ErrorRow>;
