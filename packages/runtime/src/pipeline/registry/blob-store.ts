import { join } from "node:path";
import { SovereignError, sha256Hex } from "@sovereign/core";
import { type DurableFiles, readRegular } from "../../system/index.ts";

/** The largest model that is kept. */
export const BLOB_BYTES_MAX = 1024 * 1024 * 1024;

/** Bytes by their SHA-256: `blobs/sha256/<first two digits>/<digest>`. */
export class BlobStore {
  readonly #folder: string;
  readonly #files: DurableFiles;

  constructor(folder: string, files: DurableFiles) {
    this.#folder = folder;
    this.#files = files;
  }

  /**
   * Keep bytes; a second time is nothing. A damaged copy is replaced by the right bytes.
   * @param digest what the caller believes that the bytes are
   * @throws ERR_REGISTRY_DIGEST when they are not
   */
  async put(digest: string, bytes: Uint8Array): Promise<void> {
    const found = sha256Hex(bytes);
    if (found !== digest || bytes.length > BLOB_BYTES_MAX) {
      const text = `expected at most ${BLOB_BYTES_MAX} bytes of SHA-256 ${digest}, found ${found}`;
      throw new SovereignError("ERR_REGISTRY_DIGEST", text, { digest, found });
    }
    const path = this.#pathOf(digest);
    if ((await this.#readWhole(digest)) === null) await this.#files.replace(path, bytes);
    else await this.#files.settle(path);
  }

  /**
   * Read bytes, hashed again now.
   * @throws ERR_REGISTRY_UNKNOWN, or ERR_REGISTRY_CORRUPT when the bytes have changed
   */
  async read(digest: string): Promise<Uint8Array> {
    const bytes = await readRegular(this.#pathOf(digest), BLOB_BYTES_MAX);
    if (bytes === null) {
      const text = `the registry has no bytes of SHA-256 ${digest}`;
      throw new SovereignError("ERR_REGISTRY_UNKNOWN", text, { digest });
    }
    const found = sha256Hex(bytes);
    if (found === digest) return bytes;
    const text = `the bytes kept as ${digest} now have SHA-256 ${found}: keep the disk, look at it`;
    throw new SovereignError("ERR_REGISTRY_CORRUPT", text, { digest, found });
  }

  async #readWhole(digest: string): Promise<Uint8Array | null> {
    const bytes = await readRegular(this.#pathOf(digest), BLOB_BYTES_MAX);
    return bytes !== null && sha256Hex(bytes) === digest ? bytes : null;
  }

  #pathOf(digest: string): string {
    return join(this.#folder, "sha256", digest.slice(0, 2), digest);
  }
}
