export { Authority, type AuthorityOptions, signStatement, type Subject } from "./authority.ts";
export {
  INSTALLATION_KEYS,
  KeyLog,
  type KeyLogEntry,
  type KeyLogStore,
  type NewKeyEvent,
} from "./key-log.ts";
export { type Passphrase, SecretBox } from "./key-secret.ts";
export { Keystore, type KeystoreOptions, refuseWorkTree, type StrayFile } from "./keystore.ts";
export { type KeySlot, notInForce } from "./slot.ts";
