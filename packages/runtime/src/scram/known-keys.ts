import { keyFileStamp, readKeyFile, type SentinelKeys } from "./key-file.ts";

/** The keys of now for one who is not the sentinel: read again when the file has changed. */
export class KnownKeys {
  readonly #folder: string;
  #known: SentinelKeys | null = null;
  #stamp = "";

  /** @param folder the kill switch's */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Null where no key is enrolled. What cannot be read changes nothing: the sentinel will say so. */
  current(): SentinelKeys | null {
    const stamp = keyFileStamp(this.#folder);
    if (stamp === this.#stamp) return this.#known;
    try {
      this.#known = readKeyFile(this.#folder, this.#known);
      this.#stamp = stamp;
    } catch {
      // It is looked at again the next time.
    }
    return this.#known;
  }
}
