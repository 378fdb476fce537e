import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown where several machines are one installation. */
export const nodesCodes = {
  ERR_NODE_OTHER_INSTALLATION: row.input("The database belongs to another installation."),
  ERR_NODE_UNKNOWN: row.integrity("The database does not hold this node's joining."),
  ERR_NODE_CLONED: row.integrity("Two data folders are the same node, or one was set back."),
  ERR_NODE_EXISTS: row.input("The data folder belongs to an installation already."),
} as const satisfies Record<string, ErrorRow>;
