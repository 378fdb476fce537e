import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by verify. */
export const verifyCodes = {
  ERR_BUNDLE_MALFORMED: row.input("The file is no compliance bundle."),
  ERR_TRUST_ROOT_MALFORMED: row.input("The file is no trust root."),
  ERR_FILE_UNREADABLE: row.input("A file cannot be read."),
  ERR_USAGE: row.input("The command's words are not understood."),
  ERR_VERIFY_INVALID: row.integrity("The evidence contradicts itself or the rules."),
  ERR_VERIFY_UNTRUSTED: row.integrity("The evidence is not by keys that the trust root knows."),
  ERR_VERIFY_INCOMPLETE: row.integrity("Something is missing from the evidence."),
} as const satisfies Record<string, ErrorRow>;
