import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown where several machines are one installation. */
export const nodesCodes = {
  ERR_NODE_OTHER_INSTALLATION: row.input("The database belongs to another installation."),
  ERR_NODE_UNKNOWN: row.integrity("The database has no record that this node joined."),
  ERR_NODE_CLONED: row.integrity(
    "Two data folders act as the same node, or one of them was set back.",
  ),
  ERR_NODE_EXISTS: row.input("The data folder belongs to an installation already."),
} as const satisfies Record<string, ErrorRow>;
