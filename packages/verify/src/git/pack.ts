import { type Budget, OBJECT_BYTES_MAX } from "./budget.ts";
import type { ByteCache } from "./byte-cache.ts";
import { applyDelta } from "./delta.ts";
import { GitFile } from "./git-file.ts";
import { corrupt, tooMuch } from "./git-problem.ts";
import type { GitObject, ObjectType } from "./object-id.ts";
import { PackIndex, viewOf } from "./pack-index.ts";
import { unpack } from "./unpack.ts";

const MAGIC = 0x5041434b;
const HEADER_BYTES = 12;
/** What git itself writes at most. */
const DELTA_DEPTH_MAX = 4095;
/** They are held until the chain's end is known; those of a real chain are small. */
const DELTA_BYTES_MAX = 2 * OBJECT_BYTES_MAX;
const OFS_DELTA = 6;
const REF_DELTA = 7;
const TYPES: Readonly<Record<number, ObjectType>> = { 1: "commit", 2: "tree", 3: "blob", 4: "tag" };

/** What a pack needs of the store that it is in. */
export interface PackStore {
  readonly idBytes: number;
  readonly budget: Budget;
  readonly cache: ByteCache;
}

/** One object as it stands in a pack. */
interface PackedEntry {
  readonly type: number;
  readonly size: number;
  /** Where the packed bytes begin. */
  readonly dataAt: number;
  /** For a delta: where its base is, or what it is called. */
  readonly base: number | string | null;
}

/** A pack file with its index. */
export class Pack {
  readonly #path: string;
  readonly #indexFile: GitFile;
  readonly #index: PackIndex;
  readonly #store: PackStore;
  #file: GitFile | null = null;

  /** @param path without `.idx` or `.pack` */
  constructor(path: string, store: PackStore) {
    this.#path = path;
    this.#store = store;
    const file = GitFile.open(`${path}.idx`);
    if (file === null) throw corrupt(`${path}.idx has gone`);
    this.#indexFile = file;
    this.#index = new PackIndex(file, store.idBytes);
  }

  /**
   * @returns null when it is not in this pack; its id is not checked yet
   * @throws ERR_GIT_OBJECT_CORRUPT, ERR_GIT_OBJECT_LIMIT
   */
  read(id: string): GitObject | null {
    const offset = this.#index.find(id);
    return offset === null ? null : this.#readAt(offset);
  }

  close(): void {
    this.#indexFile.close();
    this.#file?.close();
  }

  /** Down the chain of deltas to what stands whole, and up again. */
  #readAt(offset: number): GitObject {
    const deltas: { at: number; delta: Uint8Array }[] = [];
    const places = new Set<number>();
    let bytes = 0;
    let at = offset;
    for (;;) {
      if (places.has(at)) throw tooMuch(`${this.#path}.pack has deltas that rest on themselves`);
      places.add(at);
      const found = this.#wholeAt(at, deltas);
      if (typeof found !== "number") return this.#applyAll(found, deltas);
      if (deltas.length > DELTA_DEPTH_MAX) {
        throw tooMuch(`${this.#path}.pack has a chain of more than ${DELTA_DEPTH_MAX} deltas`);
      }
      bytes += deltas.at(-1)?.delta.length ?? 0;
      if (bytes > DELTA_BYTES_MAX) {
        throw tooMuch(`${this.#path}.pack has a chain of deltas above ${DELTA_BYTES_MAX} bytes`);
      }
      at = found;
    }
  }

  /** @returns the object, or, when a delta stands there and was put on the pile, its base's place */
  #wholeAt(at: number, deltas: { at: number; delta: Uint8Array }[]): GitObject | number {
    const known = this.#store.cache.get(this.#keyOf(at));
    if (known !== null) return known;
    const entry = this.#entryAt(at);
    const bytes = this.#unpack(entry);
    if (entry.base === null) {
      const type = TYPES[entry.type];
      if (type === undefined) throw corrupt(`${this.#path}.pack has an object of no known type`);
      return this.#keep(at, { type, bytes });
    }
    deltas.push({ at, delta: bytes });
    if (typeof entry.base === "number") return entry.base;
    // Git completes every pack before it keeps it: the base is in the same one.
    const place = this.#index.find(entry.base);
    if (place === null) throw corrupt(`${this.#path}.pack has a delta without its base`);
    return place;
  }

  #applyAll(base: GitObject, deltas: readonly { at: number; delta: Uint8Array }[]): GitObject {
    let found = base;
    for (const { at, delta } of deltas.toReversed()) {
      const bytes = applyDelta(found.bytes, delta, (count) => {
        this.#store.budget.spend(count);
      });
      found = this.#keep(at, { type: found.type, bytes });
    }
    return found;
  }

  #keyOf(at: number): string {
    return `${this.#path} ${at}`;
  }

  #keep(at: number, object: GitObject): GitObject {
    this.#store.cache.put(this.#keyOf(at), object);
    return object;
  }

  /** Packed bytes have no length of their own: as many as zlib could have needed are read. */
  #unpack({ size, dataAt }: PackedEntry): Uint8Array {
    this.#store.budget.spend(size);
    const file = this.#open();
    const end = file.size - this.#store.idBytes;
    const length = Math.min(end - dataAt, size + Math.ceil(size / 4) + 4096);
    if (length <= 0) throw corrupt(`${file.path} ends inside an object`);
    return unpack(file.read(dataAt, length), size, `an object of ${file.path}`);
  }

  #entryAt(offset: number): PackedEntry {
    const file = this.#open();
    if (offset < HEADER_BYTES || offset >= file.size) throw corrupt(`${file.path} is too short`);
    const head = file.read(offset, Math.min(64, file.size - offset));
    let at = 0;
    const next = (): number => {
      const byte = head[at];
      if (byte === undefined) throw corrupt(`${file.path} ends inside an object`);
      at += 1;
      return byte;
    };
    const { type, size } = typeAndSize(next);
    if (size > OBJECT_BYTES_MAX) throw tooMuch(`an object of ${size} bytes`);
    if (type === OFS_DELTA) {
      const back = distance(next);
      if (back <= 0 || back >= offset) throw corrupt(`${file.path} has a delta without its base`);
      return { type, size, dataAt: offset + at, base: offset - back };
    }
    if (type !== REF_DELTA) return { type, size, dataAt: offset + at, base: null };
    const { idBytes } = this.#store;
    const base = Buffer.from(file.read(offset + at, idBytes)).toString("hex");
    return { type, size, dataAt: offset + at + idBytes, base };
  }

  #open(): GitFile {
    if (this.#file !== null) return this.#file;
    const file = GitFile.open(`${this.#path}.pack`);
    if (file === null) throw corrupt(`${this.#path}.pack has gone`);
    this.#file = file;
    const head = viewOf(file.read(0, HEADER_BYTES));
    if (head.getUint32(0) !== MAGIC || ![2, 3].includes(head.getUint32(4))) {
      throw corrupt(`${file.path} is no pack`);
    }
    return file;
  }
}

/** Three bits of type and four of size, then seven bits of size a byte. */
function typeAndSize(next: () => number): { type: number; size: number } {
  let byte = next();
  const type = (byte >> 4) & 7;
  let size = byte & 15;
  for (let factor = 16; (byte & 0x80) !== 0; factor *= 128) {
    byte = next();
    size += (byte & 0x7f) * factor;
    if (!Number.isSafeInteger(size)) throw corrupt("an object's size does not end");
  }
  return { type, size };
}

/** How far back a delta's base stands: the highest bits first, each continuation adding one. */
function distance(next: () => number): number {
  let byte = next();
  let value = byte & 0x7f;
  while ((byte & 0x80) !== 0) {
    byte = next();
    value = (value + 1) * 128 + (byte & 0x7f);
    if (!Number.isSafeInteger(value)) throw corrupt("a delta's distance does not end");
  }
  return value;
}
