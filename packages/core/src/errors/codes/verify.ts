import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by verify. */
export const verifyCodes = {
  ERR_BUNDLE_MALFORMED: row.input("The file is not a compliance bundle."),
  ERR_TRUST_ROOT_MALFORMED: row.input("The file is not a trust root."),
  ERR_AUDIT_MALFORMED: row.input("The file is not an audit file (immutable_audit.jsonl)."),
  ERR_VERIFY_RESOURCES: row.transient("Verifying takes more memory or files than the machine has."),
  ERR_FILE_UNREADABLE: row.input("A file cannot be read."),
  ERR_USAGE: row.input("The command line is not valid."),
  ERR_REPOSITORY_UNREADABLE: row.input("The folder is not a git repository that can be read."),
  ERR_GIT_OBJECT_MISSING: row.integrity("The repository does not have an object."),
  ERR_GIT_OBJECT_CORRUPT: row.integrity(
    "The repository holds an object that is not what its id says.",
  ),
  ERR_GIT_OBJECT_LIMIT: row.integrity("Reading the repository exceeds a limit of the verifier."),
  ERR_VERIFY_INVALID: row.integrity("The evidence contradicts itself or the rules."),
  ERR_VERIFY_UNTRUSTED: row.integrity(
    "The evidence is signed by keys that the trust root does not know.",
  ),
  ERR_VERIFY_INCOMPLETE: row.integrity("Something is missing from the evidence."),
} as const satisfies Record<string, ErrorRow>;
