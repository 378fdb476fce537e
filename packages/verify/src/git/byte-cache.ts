import type { GitObject } from "./object-id.ts";

const BYTES_MAX = 96 * 1024 * 1024;
/** What is larger would push out everything else. */
const OBJECT_BYTES_MAX = 16 * 1024 * 1024;

/** Objects that were unpacked lately: deltas in a chain rest on each other. */
export class ByteCache {
  readonly #objects = new Map<string, GitObject>();
  #bytes = 0;

  get(key: string): GitObject | null {
    const found = this.#objects.get(key);
    if (found === undefined) return null;
    this.#objects.delete(key);
    this.#objects.set(key, found);
    return found;
  }

  put(key: string, object: GitObject): void {
    const { length } = object.bytes;
    if (length > OBJECT_BYTES_MAX || this.#objects.has(key)) return;
    this.#objects.set(key, object);
    this.#bytes += length + 200;
    for (const [oldest, { bytes }] of this.#objects) {
      if (this.#bytes <= BYTES_MAX) return;
      this.#objects.delete(oldest);
      this.#bytes -= bytes.length + 200;
    }
  }
}
