import type { GitFile } from "./git-file.ts";
import { corrupt } from "./git-problem.ts";

const HEADER_BYTES = 8;
const FANOUT_BYTES = 1024;
const MAGIC = 0xff744f63;
const LARGE = 0x80000000;

/** The index of a pack, version 2: which objects are in it, and where. */
export class PackIndex {
  readonly #file: GitFile;
  readonly #idBytes: number;
  readonly #fanout: readonly number[];
  readonly #count: number;

  /** @throws ERR_GIT_OBJECT_CORRUPT */
  constructor(file: GitFile, idBytes: number) {
    this.#file = file;
    this.#idBytes = idBytes;
    const head = viewOf(file.read(0, HEADER_BYTES + FANOUT_BYTES));
    if (head.getUint32(0) !== MAGIC || head.getUint32(4) !== 2) {
      throw corrupt(`${file.path} is no pack index of version 2`);
    }
    this.#fanout = Array.from({ length: 256 }, (_, at) => head.getUint32(HEADER_BYTES + 4 * at));
    if (this.#fanout.some((one, at) => one < (this.#fanout[at - 1] ?? 0))) {
      throw corrupt(`${file.path} has counts that fall`);
    }
    this.#count = this.#fanout[255] ?? 0;
    if (this.#offsetsAt + 4 * this.#count > file.size) throw corrupt(`${file.path} is too short`);
  }

  /** @returns the object's place in the pack; null when it is not in it */
  find(id: string): number | null {
    const wanted = Buffer.from(id, "hex");
    const first = wanted[0] ?? 0;
    let low = this.#fanout[first - 1] ?? 0;
    let high = this.#fanout[first] ?? 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = Buffer.compare(this.#idAt(middle), wanted);
      if (order === 0) return this.#offsetOf(middle);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return null;
  }

  get #idsAt(): number {
    return HEADER_BYTES + FANOUT_BYTES;
  }

  /** Behind the ids and a checksum of four bytes for each. */
  get #offsetsAt(): number {
    return this.#idsAt + this.#count * (this.#idBytes + 4);
  }

  #idAt(place: number): Uint8Array {
    return this.#file.read(this.#idsAt + place * this.#idBytes, this.#idBytes);
  }

  #offsetOf(place: number): number {
    const offset = viewOf(this.#file.read(this.#offsetsAt + 4 * place, 4)).getUint32(0);
    if (offset < LARGE) return offset;
    const at = this.#offsetsAt + 4 * this.#count + 8 * (offset - LARGE);
    const large = viewOf(this.#file.read(at, 8)).getBigUint64(0);
    if (large > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(`${this.#file.path} points nowhere`);
    return Number(large);
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
