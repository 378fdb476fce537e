/** Something that we make in a data folder. */
export interface DataPart {
  readonly name: string;
  /** What it is, for people. */
  readonly what: string;
  /**
   * How a backup has it: as it is; sealed under the backup's passphrase, because it holds secrets;
   * `chosen` file by file; or not at all, because it is made again.
   */
  readonly backup: "plain" | "sealed" | "chosen" | "none";
}

/**
 * What we make in a data folder, in the order in which it is removed. Without the kill switch's folder no
 * process of the installation begins another action. The identity is last: what was broken off is
 * repeated.
 */
export const DATA_PARTS: readonly DataPart[] = [
  {
    name: "scram",
    what: "kill switch: journal, latch, orders, sockets",
    backup: "chosen",
  },
  { name: "runs", what: "runs: outputs and artifacts", backup: "plain" },
  { name: "registry", what: "model registry", backup: "plain" },
  { name: "ledger", what: "signed heads of the ledger", backup: "chosen" },
  { name: "postgres", what: "embedded database", backup: "none" },
  { name: "models", what: "model vendors and their keys", backup: "sealed" },
  { name: "secrets", what: "secrets of tenants", backup: "sealed" },
  { name: "skills", what: "skills of tenants, as they were trusted", backup: "plain" },
  { name: "trusted-policies", what: "accepted policies", backup: "plain" },
  { name: "policies", what: "policies of tenants", backup: "plain" },
  { name: "background", what: "what commands in the background said", backup: "plain" },
  { name: "keys", what: "private keys", backup: "sealed" },
  { name: "node.json", what: "identity of this node", backup: "plain" },
  // The address of a database may hold a password.
  { name: "config.yaml", what: "settings", backup: "sealed" },
  { name: "installation.json", what: "identity of the installation", backup: "plain" },
];
