import { crc32, deflateRawSync } from "node:zlib";

export const NAME = "compliance_bundle.json";

/** One entry, with every field that a forger may set; what is left out is honest. */
export interface Forged {
  readonly content?: Uint8Array;
  /** What stands where the packed data should be. */
  readonly data?: Uint8Array;
  readonly name?: string | Uint8Array;
  readonly method?: number;
  readonly flags?: number;
  readonly version?: number;
  readonly checksum?: number;
  readonly size?: number;
  readonly packedSize?: number;
  readonly extra?: Uint8Array;
  /** Fields of the record before the data, where they differ from the directory's. */
  readonly local?: Omit<Forged, "local" | "content" | "data">;
  /** Bytes between the data and the next record, such as a data descriptor. */
  readonly behind?: Uint8Array;
  readonly attributes?: number;
  readonly comment?: Uint8Array;
  /** Where the directory says that the entry begins. */
  readonly offset?: number;
  /** In the directory alone: no data are written. */
  readonly phantom?: boolean;
}

export interface ForgedEnd {
  readonly count?: number;
  readonly offset?: number;
  readonly size?: number;
  readonly disk?: number;
  readonly comment?: Uint8Array;
  readonly before?: Uint8Array;
  readonly beforeEnd?: Uint8Array;
}

const NOTHING = new Uint8Array();

/** A zip file as APPNOTE.TXT draws it, honest but for what is asked. */
export function forgeZip(entries: readonly Forged[], end: ForgedEnd = {}): Uint8Array {
  const parts: Uint8Array[] = [end.before ?? NOTHING];
  const directory: Uint8Array[] = [];
  let at = lengthOf(parts);
  for (const entry of entries) {
    directory.push(directoryRecord(entry, at));
    if (entry.phantom === true) continue;
    parts.push(entryRecord(entry));
    at += lengthOf(parts.slice(-1));
  }
  const size = lengthOf(directory);
  const behind = endRecord({ count: entries.length, size, offset: at, ...end });
  return concat([...parts, ...directory, end.beforeEnd ?? NOTHING, behind]);
}

function entryRecord(entry: Forged): Uint8Array {
  const packed = packedOf(entry);
  const record = [u32(0x04034b50), ...fields({ ...entry, ...entry.local }, entry, packed)];
  return concat([...record, packed, entry.behind ?? NOTHING]);
}

function directoryRecord(entry: Forged, at: number): Uint8Array {
  const comment = entry.comment ?? NOTHING;
  const head = fields(entry, entry, packedOf(entry));
  const tail = [u16(comment.length), u16(0), u16(0), u32(entry.attributes ?? 0)];
  return concat([
    ...[u32(0x02014b50), u16(0x0314), ...head.slice(0, -2)],
    ...[...tail, u32(entry.offset ?? at), ...head.slice(-2), comment],
  ]);
}

function endRecord(end: ForgedEnd & { count: number; size: number; offset: number }): Uint8Array {
  const { count, size, offset, disk = 0, comment = NOTHING } = end;
  return concat([
    ...[u32(0x06054b50), u16(disk), u16(0), u16(count), u16(count)],
    ...[u32(size), u32(offset), u16(comment.length), comment],
  ]);
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function packedOf(entry: Forged): Uint8Array {
  if (entry.data !== undefined) return entry.data;
  const content = entry.content ?? NOTHING;
  return entry.method === 0 ? content : new Uint8Array(deflateRawSync(content));
}

/** From the version to the extra field: the part that both records have. */
function fields(said: Forged, entry: Forged, packed: Uint8Array): Uint8Array[] {
  const content = entry.content ?? NOTHING;
  const name = typeof said.name === "string" ? Buffer.from(said.name) : said.name;
  const nameBytes = name ?? Buffer.from(NAME);
  const extra = said.extra ?? NOTHING;
  return [
    ...[u16(said.version ?? 20), u16(said.flags ?? 0), u16(said.method ?? 8)],
    ...[u16(0), u16(0x21), u32(said.checksum ?? crc32(content))],
    ...[u32(said.packedSize ?? packed.length), u32(said.size ?? content.length)],
    ...[u16(nameBytes.length), u16(extra.length), nameBytes, extra],
  ];
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 255, (value >> 8) & 255);
}

export function u32(value: number): Uint8Array {
  return concat([u16(value & 0xffff), u16(value >>> 16)]);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
