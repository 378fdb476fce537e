import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by scram. */
export const scramCodes = {
  ERR_SCRAM_TRIPPED: row.scram("The kill switch is tripped: nothing runs until it is reset."),
  ERR_SCRAM_UNREADABLE: row.scram("The kill switch's state can not be read: nothing runs."),
  ERR_SCRAM_UNWRITABLE: row.fatal("The kill switch's state can not be written."),
} as const satisfies Record<string, ErrorRow>;
