/** What goes on while an archive is made, read or restored. */
export type ArchiveProgress =
  | { readonly event: "archive.written" | "archive.read"; readonly entries: number }
  | {
      readonly event: "archive.step";
      /**
       * `placed`: the file has its name. `verified`: it was read back, and is what the database holds.
       * `recorded`: the ledger says so. `signed`: under a signed head. `kept`: bytes may leave.
       */
      readonly step: "placed" | "verified" | "recorded" | "signed" | "kept";
    }
  | {
      readonly event: "archive.taken" | "archive.put_back";
      readonly entries: number;
      readonly of: number;
    };

/** What an archive holds. */
interface ArchiveContents {
  readonly installation: string;
  readonly tenant: string;
  readonly madeAt: string;
  /** Each of its runs was sealed before. */
  readonly before: string;
  /** The SHA-256 of the file: it names this archive and no other. */
  readonly digest: string;
  readonly runs: number;
  readonly entries: number;
  readonly envelopes: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Of the file. */
  readonly bytes: number;
  /** Whose signature it has. */
  readonly signer: string;
}

export interface ArchiveVerification extends ArchiveContents {
  /**
   * `VALID`: nothing was changed, by keys that the trust root knows. `UNTRUSTED_KEY`: nothing was changed
   * since somebody signed it, and nobody says who.
   */
  readonly verdict: "VALID" | "UNTRUSTED_KEY";
  /** The size of the signed head under which its entries stand. */
  readonly checkpointSize: number;
}

export interface ArchiveReport extends ArchiveVerification {
  readonly file: string;
  /** Whose bytes left the database now. */
  readonly taken: number;
  /** Runs that are as old and did not fit in. */
  readonly left: number;
  /** Runs that are as old and stay, because their entries are no whole chain. */
  readonly damaged: number;
}

/** An archive of a tenant, as the ledger recorded it. */
export interface RecordedReport {
  readonly digest: string;
  readonly at: string;
  readonly by: string;
  readonly before: string;
  readonly runs: number;
  readonly entries: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly bytes: number;
  /** Of its entries, how many have their bytes in the database. */
  readonly inDatabase: number;
}

export interface RestoredReport {
  readonly digest: string;
  readonly tenant: string;
  readonly entries: number;
  /** Whose bytes came back now. */
  readonly putBack: number;
}
