import { gunzipSync, gzipSync } from "node:zlib";
import {
  fields,
  Frontier,
  hexEncode,
  leafHash,
  parseFormat,
  parseStrictJson,
  sha256Hex,
} from "@sovereign/core";
import { z } from "zod";
import { PART_BYTES_MAX } from "./tar.ts";
import { BACKUP, type PartsKind, unreadableBackup } from "./backup-error.ts";

/** A part is closed once it has so many bytes; of lines, before they are compressed. */
export const PART_BYTES = 8 * 1024 * 1024;

export const TABLES = "tables.json";
export const LOGS = "logs.jsonl.gz";
export const SEALED = "sealed.json";
export const SUMS = "SHA256SUMS";
export const MANIFEST = "manifest.dsse.json";

/** The names of the parts that come in any number. */
export const numbered = (number: number, ending: string): string =>
  `${String(number).padStart(6, "0")}.${ending}`;
export const rowsPart = (table: string, number: number): string =>
  `database/${table}/${numbered(number, "jsonl.gz")}`;
export const filesPart = (number: number): string => `files/${numbered(number, "bin")}`;
export const indexPart = (number: number): string => `index/${numbered(number, "jsonl.gz")}`;

const columnName = z.string().regex(/^[a-z_][a-z0-9_]{0,62}$/);
/** The schema that the rows are of. */
export const tablesFormat = z.strictObject({
  migrations: z
    .array(
      z.strictObject({ name: z.string().regex(/^\d{3}_[a-z_]+\.sql$/), checksum: fields.digest }),
    )
    .max(10_000),
  tables: z
    .array(z.strictObject({ name: columnName, columns: z.array(columnName).max(1000) }))
    .max(1000),
});

/** Where the bytes of a file are: after those of the files before it. */
const indexLine = z.strictObject({
  path: z.string().min(1).max(4096),
  bytes: fields.count,
  executable: z.boolean(),
});
export type IndexLine = z.infer<typeof indexLine>;

const logLine = z.strictObject({
  log: z.string().max(200),
  size: fields.count,
  root: fields.digest,
});
export type LogLine = z.infer<typeof logLine>;

const entryRow = z.looseObject({
  log_id: z.string().max(200),
  index: fields.count,
  hash: z.string().max(100),
  /** Null where they are in an archive; then the row has the leaf of the log's tree. */
  bytes: z.string().nullable(),
  leaf: z.string().nullish(),
});

/** Lines in compressed parts of {@link PART_BYTES}. */
export class LineParts {
  readonly #put: (bytes: Buffer) => void;
  #lines: string[] = [];
  #bytes = 0;

  constructor(put: (bytes: Buffer) => void) {
    this.#put = put;
  }

  add(line: string): void {
    this.#lines.push(line);
    this.#bytes += line.length + 1;
    if (this.#bytes >= PART_BYTES) this.end();
  }

  end(): void {
    if (this.#lines.length === 0) return;
    this.#put(gzipSync(`${this.#lines.join("\n")}\n`));
    this.#lines = [];
    this.#bytes = 0;
  }
}

/** The lines of a part. @throws the kind's fault, also for one that unpacks to more than parts have */
export function linesOf(name: string, bytes: Uint8Array, kind: PartsKind = BACKUP): string[] {
  let text: string;
  try {
    const plain = gunzipSync(bytes, { maxOutputLength: PART_BYTES_MAX });
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(plain);
  } catch (cause) {
    throw kind.fault(name, "it cannot be unpacked", cause);
  }
  if (!text.endsWith("\n")) throw kind.fault(name, "its last line has no end");
  return text.slice(0, -1).split("\n");
}

export function parseIndexLine(name: string, line: string): IndexLine {
  return parsed(name, line, indexLine);
}

export function parseLogLine(name: string, line: string): LogLine {
  return parsed(name, line, logLine);
}

function parsed<T extends z.ZodType>(name: string, line: string, format: T): z.infer<T> {
  try {
    const value = parseStrictJson(Buffer.from(line), { bytesMax: PART_BYTES_MAX });
    return parseFormat(format, value, name);
  } catch (cause) {
    throw unreadableBackup(name, cause instanceof Error ? cause.message : "unreadable", cause);
  }
}

/** Computes the tree of each log from the rows of its entries. */
export class LogTrees {
  readonly #trees = new Map<string, Frontier>();

  /** @throws ERR_BACKUP_INVALID for an entry that is out of place, or that its hash does not name */
  add(name: string, row: string): void {
    const { log_id: log, index, hash, bytes, leaf = null } = parsed(name, row, entryRow);
    const tree = this.#trees.get(log) ?? new Frontier();
    this.#trees.set(log, tree);
    if (index !== tree.size) {
      throw unreadableBackup(name, `expected entry ${tree.size} of the log ${log}, found ${index}`);
    }
    if (bytes === null && leaf !== null && /^\\x[0-9a-f]{64}$/.test(leaf)) {
      tree.append(Buffer.from(leaf.slice(2), "hex"));
      return;
    }
    if (bytes === null || leaf !== null || !/^\\x(?:[0-9a-f]{2})*$/.test(bytes)) {
      throw unreadableBackup(name, `entry ${index} of the log ${log} is no row of an entry`);
    }
    const entry = Buffer.from(bytes.slice(2), "hex");
    if (hash !== `\\x${sha256Hex(entry)}`) {
      throw unreadableBackup(name, `entry ${index} of the log ${log} is not what its hash says`);
    }
    tree.append(leafHash(entry));
  }

  /** Each log with its size and root, by name. */
  get lines(): LogLine[] {
    return [...this.#trees]
      .map(([log, tree]) => ({ log, size: tree.size, root: hexEncode(tree.root()) }))
      .sort((a, b) => (a.log < b.log ? -1 : 1));
  }
}

/** The list of the parts, as `sha256sum -c` reads it. */
export function sumsOf(parts: ReadonlyMap<string, string>): string {
  return [...parts].map(([name, sha256]) => `${sha256}  ${name}\n`).join("");
}
