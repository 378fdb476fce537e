import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by scram. */
export const scramCodes = {
  ERR_SCRAM_TRIPPED: row.scram("The kill switch is tripped: nothing runs until it is reset."),
  ERR_SCRAM_UNREADABLE: row.scram("The kill switch's state cannot be read: nothing runs."),
  ERR_SCRAM_UNWRITABLE: row.fatal("The kill switch's state cannot be written."),
  ERR_SCRAM_SENTINEL_LOST: {
    ...row.scram("The sentinel does not answer: nothing runs without it."),
    http: 503,
  },
  ERR_SCRAM_LEASE: row.scram(
    "The other machines' orders could not be read for too long: nothing runs until they can.",
  ),
  ERR_SCRAM_SENTINEL_START: { ...row.fatal("The sentinel cannot be started."), http: 503 },
  ERR_SCRAM_JOURNAL_INVALID: row.integrity(
    "The sentinel's journal is inconsistent; sovereign scram repair mends it.",
  ),
  ERR_SCRAM_CONFIG: row.input(
    "The kill switch's configuration is malformed, or weakens an immutable setting.",
  ),
  ERR_SCRAM_KEYS_INVALID: row.integrity("The sentinel refuses the list of keys."),
  ERR_SCRAM_ORDER_MALFORMED: row.input("The bytes are not an order of the kill switch."),
  ERR_SCRAM_ORDER_STRANGER: row.denied(
    "An order from a network has no signature by a key that is enrolled here.",
  ),
  ERR_SCRAM_ORDER_SIGNATURE: row.denied("An order needs an operator's and an architect's key."),
  ERR_SCRAM_ORDER_HOLDER: row.denied("An order needs the keys of two different people."),
  ERR_SCRAM_ORDER_KEY: row.denied("An order is signed by a key that is not valid now."),
  ERR_SCRAM_ORDER_EXPIRED: {
    ...row.denied("An order is used before or after its time."),
    http: 410,
  },
  ERR_SCRAM_ORDER_REPLAYED: { ...row.denied("An order was used before."), http: 409 },
  ERR_SCRAM_ORDER_INSTALLATION: row.denied("An order is for another installation."),
  ERR_SCRAM_NOT_TRIPPED: row.input("The kill switch is not tripped."),
  ERR_SCRAM_RESET_REFUSED: row.denied("The kill switch may not be reset now."),
} as const satisfies Record<string, ErrorRow>;
