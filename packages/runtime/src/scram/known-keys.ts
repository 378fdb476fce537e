import type { KeyWindow } from "@sovereign/core";
import { keyFileStamp, readKeyFile, type SentinelKeys } from "./key-file.ts";

/** The keys of now, for whoever has no database: read again when their file has changed. */
export class KnownKeys {
  readonly #folder: string;
  #known: SentinelKeys | null = null;
  #stamp = "";

  /** @param folder the kill switch's */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** As last read; null where no key is enrolled. */
  get last(): SentinelKeys | null {
    return this.#known;
  }

  /** @throws ERR_SCRAM_KEYS_INVALID and what else {@link readKeyFile} refuses with */
  refresh(): SentinelKeys | null {
    const stamp = keyFileStamp(this.#folder);
    if (stamp !== this.#stamp) {
      this.#known = readKeyFile(this.#folder, this.#known);
      this.#stamp = stamp;
    }
    return this.#known;
  }

  /** For one who is not the sentinel: what cannot be read changes nothing, the sentinel says so. */
  current(): SentinelKeys | null {
    try {
      return this.refresh();
    } catch {
      // It is looked at again the next time.
      return this.#known;
    }
  }

  /** Whose signatures stop and reset, and have not ended. */
  signatories(): KeyWindow[] {
    const windows = this.current()?.keys.windows ?? [];
    return windows.filter(({ record: { purpose }, ended }) => {
      return ended === null && (purpose === "operator" || purpose === "architect");
    });
  }

  /** Whose keys they are; zeros where none were ever read. */
  get installationId(): string {
    return this.last?.installationId ?? `ins_${"0".repeat(20)}`;
  }
}
