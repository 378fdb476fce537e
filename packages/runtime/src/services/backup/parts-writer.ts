import { sha256Hex } from "@sovereign/core";
import { SUMS, sumsOf } from "./parts.ts";
import { tarPart } from "./tar.ts";

/** A file of parts that is being written, with the digest of each part. */
export class PartsWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly sums = new Map<string, string>();
  parts = 0;
  bytes = 0;

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  add(name: string, bytes: Buffer): void {
    this.sums.set(name, sha256Hex(bytes));
    this.parts += 1;
    this.bytes += bytes.length;
    this.#write(tarPart(name, bytes));
  }

  /** @returns the digest of the list */
  addSums(): string {
    const list = Buffer.from(sumsOf(this.sums));
    this.add(SUMS, list);
    return sha256Hex(list);
  }
}
