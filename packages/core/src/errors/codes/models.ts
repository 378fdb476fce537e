import { type ErrorRow, row } from "../kinds.ts";

const denied = (http: number, text: string): ErrorRow => ({ ...row.denied(text), http });
const transient = (http: number, text: string): ErrorRow => ({ ...row.transient(text), http });

/** Codes of model calls and of connections to the outside. */
export const modelsCodes = {
  ERR_MODEL_VENDOR: row.input("The description of a model vendor cannot be used."),
  ERR_MODEL_VENDOR_UNKNOWN: { ...row.input("No model vendor of this name is set up."), http: 404 },
  ERR_MODEL_VENDOR_FILE: row.integrity("The file of a model vendor is not as it was written."),
  ERR_MODEL_PROXY: row.fatal("The model proxy cannot be started, or has died."),
  ERR_MODEL_TOKEN: denied(401, "The token does not belong to a run that is at work."),
  ERR_MODEL_PATH: { ...row.input("The model proxy does not support this request."), http: 404 },
  ERR_MODEL_REQUEST: row.input(
    "A model request asks for something that the proxy does not pass on.",
  ),
  ERR_MODEL_TOO_LARGE: { ...row.input("The model request is larger than the limit."), http: 413 },
  ERR_MODEL_BUSY: transient(
    429,
    "The run has as many model calls in flight as it may have: wait and try again.",
  ),
  ERR_MODEL_DENIED: row.denied("Policy does not allow this model call."),
  ERR_MODEL_BUDGET: denied(402, "The run's budget does not cover this model call."),
  ERR_MODEL_TURNS: denied(402, "The run has made as many model calls as it may."),
  ERR_MODEL_PRICE: denied(402, "The model has no known price, and the budget is in money."),
  ERR_MODEL_UNREACHABLE: transient(502, "The model vendor cannot be reached."),
  ERR_MODEL_ADDRESS: denied(
    403,
    "The host resolves to an address that the proxy does not connect to.",
  ),
  ERR_MODEL_ANSWER: {
    ...row.integrity("The vendor's answer does not follow its protocol."),
    http: 502,
  },
  ERR_MODEL_TIMEOUT: transient(504, "The model vendor did not answer in time."),
  ERR_EGRESS_PROXY: row.fatal("The egress proxy cannot be started, or has died."),
  ERR_EGRESS_REQUEST: row.input("The egress proxy does not take this request."),
  ERR_EGRESS_DENIED: row.denied("Policy does not name this host."),
  ERR_EGRESS_ADDRESS: row.denied(
    "A host that policy names leads to an address that is not public.",
  ),
  ERR_EGRESS_UNREACHABLE: transient(502, "A host that policy names cannot be found or reached."),
  ERR_EGRESS_NAME: row.denied("A connection names another host than it was opened for."),
  ERR_EGRESS_LIMIT: denied(429, "The run has used up its connections or bytes."),
} as const satisfies Record<string, ErrorRow>;
