import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by authority. */
export const authorityCodes = {
  ERR_KEYSTORE_IN_WORK_TREE: row.input("The keystore would lie in a git work tree."),
  ERR_KEYSTORE_UNSAFE: row.denied("Other users may read the folder or a file of the keys."),
  ERR_KEYSTORE_UNAVAILABLE: row.fatal("The keystore cannot be made, read or written."),
  ERR_KEY_FILE_MALFORMED: row.integrity("A key file is not what it should be."),
  ERR_KEY_NOT_FOUND: row.input("The keystore has no such key."),
  ERR_KEY_NAME: row.input("A key's holder or role has a name that cannot be used."),
  ERR_KEY_HOLDER: row.denied("One person would hold two keys that two people are asked for."),
  ERR_KEY_IN_FORCE: row.input("A key of this purpose and name is in force already."),
  ERR_KEY_NOT_IN_FORCE: row.transient(
    "A key that the installation needs is lost, revoked or expired; it can be replaced.",
  ),
  ERR_KEY_OVERTAKEN: row.transient("Another command changed the same key at the same time."),
  ERR_KEY_ENDED: row.input("A key that was rotated or revoked cannot end again."),
  ERR_KEY_PASSPHRASE: row.denied("The passphrase of a key is missing or wrong."),
  ERR_KEY_LAST_ROOT: row.input("The last root key can be rotated, but not revoked."),
  ERR_KEYS_EXIST: row.input("The installation has keys already."),
  ERR_KEYS_MISSING: row.input("The installation has no keys yet."),
  ERR_BINDING_REFUSED: row.denied("The authority issues no binding for what policy denies."),
} as const satisfies Record<string, ErrorRow>;
