/** How many signatures are remembered; only holders of enrolled keys can make one. */
const REMEMBERED_MAX = 10_000;

/**
 * Which signatures over which orders a network has brought here before. A signature opens a window
 * once: whoever sends the same bytes again may be a stranger who saw them.
 */
export class PresentedSignatures {
  readonly #seen = new Set<string>();

  isNew(nonce: string, keyId: string): boolean {
    return !this.#seen.has(`${nonce} ${keyId}`);
  }

  add(nonce: string, keyIds: readonly string[]): void {
    for (const keyId of keyIds) this.#seen.add(`${nonce} ${keyId}`);
    for (const oldest of this.#seen) {
      if (this.#seen.size <= REMEMBERED_MAX) return;
      this.#seen.delete(oldest);
    }
  }
}
