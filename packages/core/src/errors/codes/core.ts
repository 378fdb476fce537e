import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by `@sovereign/core`. */
export const coreCodes = {
  ERR_BYTES_MALFORMED: row.input("The text is not the expected encoding of bytes."),
  ERR_JSON_MALFORMED: row.input("The bytes are not strict JSON (RFC 8259, UTF-8)."),
  ERR_JSON_DUPLICATE_KEY: row.input("A JSON object names the same key twice."),
  ERR_JSON_TOO_DEEP: row.input("The JSON is nested deeper than the limit."),
  ERR_JSON_TOO_LARGE: row.input("The JSON is larger than the limit."),
  ERR_JSON_NOT_CANONICAL: row.integrity("The bytes are not the RFC 8785 canonical form."),
  ERR_JSON_UNSUPPORTED: row.input("The value has no canonical JSON form."),
  ERR_KEY_MALFORMED: row.input("The bytes are not an Ed25519 public key that may be used."),
  ERR_KEY_LOG_INVALID: row.integrity(
    "The key log is inconsistent: one of its events does not verify.",
  ),
  ERR_ENVELOPE_MALFORMED: row.input("The bytes are not a DSSE envelope."),
  ERR_ENVELOPE_SIGNATURE: row.integrity("Too few distinct trusted keys signed the envelope."),
  ERR_STATEMENT_MALFORMED: row.input("The payload is not an in-toto Statement v1 of this type."),
  ERR_PROOF_MALFORMED: row.input("The Merkle proof has the wrong shape."),
  ERR_PROOF_INVALID: row.integrity("The Merkle proof does not lead to the root."),
  ERR_NOTE_MALFORMED: row.input("The text is not a C2SP signed note."),
  ERR_NOTE_SIGNATURE: row.integrity("No trusted key signed the note."),
  ERR_CHECKPOINT_MALFORMED: row.input("The note is not a C2SP checkpoint."),
  ERR_SETTING_UNKNOWN: row.input("There is no setting of this name."),
  ERR_FORMAT_INVALID: row.input("The document does not match its schema."),
} as const satisfies Record<string, ErrorRow>;
