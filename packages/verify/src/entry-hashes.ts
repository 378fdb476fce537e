import { canonicalBytes, leafHash, type PlacedEntry, sha256Hex } from "@sovereign/core";

interface Hashed {
  readonly hash: string;
  readonly leaf: Uint8Array;
  readonly bytes: number;
}

/**
 * The hashes of a bundle's entries, made from the entries themselves and never from what the
 * bundle says. Several steps ask for them; the canonical bytes are written for the first alone.
 */
export class EntryHashes {
  readonly #known = new Map<PlacedEntry, Hashed>();

  /** Hex SHA-256 of the entry's canonical bytes. */
  hash(placed: PlacedEntry): string {
    return this.#of(placed).hash;
  }

  /** The Merkle leaf over the same bytes. */
  leaf(placed: PlacedEntry): Uint8Array {
    return this.#of(placed).leaf;
  }

  /** How many bytes they are. */
  size(placed: PlacedEntry): number {
    return this.#of(placed).bytes;
  }

  #of(placed: PlacedEntry): Hashed {
    const known = this.#known.get(placed);
    if (known !== undefined) return known;
    const bytes = canonicalBytes(placed.entry);
    const made = { hash: sha256Hex(bytes), leaf: leafHash(bytes), bytes: bytes.length };
    this.#known.set(placed, made);
    return made;
  }
}
