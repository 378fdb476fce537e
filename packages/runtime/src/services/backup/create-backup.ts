import { join } from "node:path";
import {
  base64Encode,
  canonicalBytes,
  canonicalize,
  isSovereignError,
  type JsonObject,
  predicateType,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { type Passphrase, SecretBox, signStatement } from "../../authority/index.ts";
import type { Installation } from "../../installation/index.ts";
import { dumpDatabase, type DumpedSchema, readHeads, type SignedHead } from "../../store/index.ts";
import { timestampOf } from "../../system/index.ts";
import { type DataFile, blocksOf, dataFiles } from "./data-files.ts";
import {
  filesPart,
  indexPart,
  LineParts,
  LogTrees,
  LOGS,
  MANIFEST,
  PART_BYTES,
  rowsPart,
  SEALED,
  SUMS,
  sumsOf,
  TABLES,
} from "./parts.ts";
import type { BackupProgress, BackupReport } from "./backup-reports.ts";
import { isSecretTable, sealedContext } from "./sealed.ts";
import { PartsWriter } from "./parts-writer.ts";
import { signerOf } from "./signer-of.ts";
import { tarEnd } from "./tar.ts";

export interface CreateOptions {
  readonly databaseUrl: string | null;
  readonly version: string;
  readonly passphrase: Passphrase;
  /** Takes the archive's bytes in order. */
  readonly write: (bytes: Uint8Array) => void;
  readonly onProgress: (progress: BackupProgress) => void;
}

/**
 * Write a backup of an installation while its work goes on.
 *
 * What is read when, so that all of it agrees: the signed heads before the database, because a head is
 * never ahead of it; the database as of one instant; then the files, because a file is written before the
 * entry that names it; and with them the kill switch's journal, whose lines stand there before they stand
 * in the ledger.
 *
 * @throws ERR_LEDGER_CORRUPT, ERR_LEDGER_ROLLED_BACK where a restored copy would be refused,
 *   ERR_KEY_NOT_IN_FORCE where nobody can sign
 */
export async function createBackup(
  installation: Installation,
  options: CreateOptions,
): Promise<BackupReport> {
  const { folder, keyLog, clock, id } = installation;
  const signer = await signerOf(installation, "attestation");
  const archive = new PartsWriter(options.write);
  // As they are before the database is read: later ones say more than that has.
  const heads = readHeads(folder.ledger);
  const dumped = await dump(installation, options, archive);
  refuseDamaged(dumped.trees, heads);
  archive.add(LOGS, partOf(dumped.trees.lines.map((line) => canonicalize({ ...line }))));
  const { plain, sealed, leftOut } = dataFiles(folder.root);
  const tell = (count: number, bytes: number): void => {
    options.onProgress({ event: "backup.files", files: count, bytes });
  };
  const files = writeFiles(archive, folder.root, plain, tell, heads);
  const secrets = secretFiles(folder.root, sealed);
  const madeAt = timestampOf(clock);
  archive.add(
    SEALED,
    await seal(options.passphrase, id, {
      format: "sovereign.backup-secrets",
      schema_version: "1.0.0",
      // Who knows the passphrase knows by this that the other parts are the ones that were made with it.
      others: sha256Hex(Buffer.from(sumsOf(archive.sums))),
      files: secrets,
      tables: Object.fromEntries(dumped.secretRows),
    }),
  );
  const { parts, bytes } = archive;
  const sums = archive.addSums();
  const { count, head } = keyLog.head();
  const { lines } = dumped.trees;
  const counted = {
    logs: lines.length,
    entries: lines.reduce((sum, { size }) => sum + size, 0),
    rows: dumped.rows,
    files: files + secrets.length,
    parts,
    bytes,
  };
  const predicate = {
    installation_id: id,
    made_at: madeAt,
    public_key: base64Encode(signer.publicKey.raw),
    version: options.version,
    key_log: { count, head },
    ...counted,
  };
  const subject = { name: SUMS, sha256: sums };
  const envelope = signStatement([subject], predicateType("backup"), predicate, signer);
  archive.add(MANIFEST, Buffer.from(canonicalBytes(envelope)));
  options.write(tarEnd());
  return { installation: id, madeAt, sums, ...counted, signer: signer.publicKey.keyId, leftOut };
}

interface Dumped {
  readonly trees: LogTrees;
  readonly rows: number;
  readonly secretRows: Map<string, string[]>;
}

async function dump(
  { folder }: Installation,
  { databaseUrl, onProgress }: CreateOptions,
  archive: PartsWriter,
): Promise<Dumped> {
  const trees = new LogTrees();
  const secretRows = new Map<string, string[]>();
  let rows = 0;
  let open: { table: string; parts: LineParts } | null = null;
  const partsOf = (table: string): LineParts => {
    if (open?.table === table) return open.parts;
    open?.parts.end();
    let number = 0;
    const put = (bytes: Buffer): void => {
      archive.add(rowsPart(table, number++), bytes);
    };
    open = { table, parts: new LineParts(put) };
    return open.parts;
  };
  try {
    await dumpDatabase(
      { folder: folder.postgres, databaseUrl },
      {
        begun: (schema: DumpedSchema) => {
          archive.add(TABLES, Buffer.from(canonicalBytes(schema as unknown as JsonObject)));
        },
        rows: (table, found) => {
          rows += found.length;
          onProgress({ event: "backup.rows", table, rows });
          if (isSecretTable(table)) {
            secretRows.set(table, [...(secretRows.get(table) ?? []), ...found]);
            return;
          }
          const parts = partsOf(table);
          for (const row of found) {
            if (table === "entries") trees.add(table, row);
            parts.add(row);
          }
        },
      },
    );
    (open as { parts: LineParts } | null)?.parts.end();
  } catch (error) {
    if (!isSovereignError(error, "ERR_BACKUP_INVALID")) throw error;
    const text = `A backup of this ledger could not be restored: ${error.message} To move what is no evidence out of the way, type: sovereign repair ledger`;
    throw new SovereignError("ERR_LEDGER_CORRUPT", text, {}, error);
  }
  return { trees, rows, secretRows };
}

/** What was signed is in the database: a copy in which it is not would be refused. */
function refuseDamaged(trees: LogTrees, heads: ReadonlyMap<string, SignedHead>): void {
  const sizes = new Map(trees.lines.map(({ log, size, root }) => [log, { size, root }]));
  for (const [log, head] of heads) {
    const found = sizes.get(log);
    if (found !== undefined && found.size > head.size) continue;
    if (found?.size === head.size && found.root === head.root) continue;
    if (found === undefined && head.size === 0) continue;
    const text = `The log ${log} was signed at ${head.size} entries; the database holds another tree of ${found?.size ?? 0}. No backup is made of it. Type: sovereign repair ledger`;
    throw new SovereignError("ERR_LEDGER_ROLLED_BACK", text, { log });
  }
}

/** @returns how many files were written, with one for each signed head */
function writeFiles(
  archive: PartsWriter,
  root: string,
  files: Generator<DataFile>,
  tell: (files: number, bytes: number) => void,
  heads: ReadonlyMap<string, SignedHead>,
): number {
  const bytes = new ByteParts((number, part) => {
    archive.add(filesPart(number), part);
  });
  const index: string[] = [];
  const add = (path: string, executable: boolean, before: number): void => {
    index.push(canonicalize({ path, bytes: bytes.total - before, executable }));
    tell(index.length, bytes.total);
  };
  for (const { path, executable } of files) {
    const before = bytes.total;
    const blocks = blocksOf(join(root, path));
    let next = blocks.next();
    for (; next.done !== true; next = blocks.next()) bytes.add(next.value);
    if (next.value) add(path, executable, before);
  }
  for (const [log, head] of heads) {
    const before = bytes.total;
    bytes.add(Buffer.from(JSON.stringify(head)));
    add(`ledger/${log}.head.json`, false, before);
  }
  bytes.end();
  let number = 0;
  const lines = new LineParts((part) => {
    archive.add(indexPart(number++), part);
  });
  for (const line of index) lines.add(line);
  lines.end();
  return index.length;
}

/** Bytes of any number in parts of {@link PART_BYTES}. */
class ByteParts {
  readonly #put: (number: number, part: Buffer) => void;
  #blocks: Buffer[] = [];
  #bytes = 0;
  #number = 0;
  total = 0;

  constructor(put: (number: number, part: Buffer) => void) {
    this.#put = put;
  }

  add(block: Buffer): void {
    this.#blocks.push(block);
    this.#bytes += block.length;
    this.total += block.length;
    if (this.#bytes >= PART_BYTES) this.end();
  }

  end(): void {
    if (this.#bytes === 0) return;
    this.#put(this.#number++, Buffer.concat(this.#blocks));
    this.#blocks = [];
    this.#bytes = 0;
  }
}

function secretFiles(root: string, files: Generator<DataFile>): JsonObject[] {
  const found: JsonObject[] = [];
  for (const { path, executable } of files) {
    const bytes = Buffer.concat([...blocksOf(join(root, path))]);
    found.push({ path, executable, content: base64Encode(bytes) });
  }
  return found;
}

async function seal(passphrase: Passphrase, id: string, secrets: JsonObject): Promise<Buffer> {
  const box = new SecretBox(passphrase);
  const sealed = await box.sealBytes(canonicalBytes(secrets), sealedContext(id));
  return Buffer.from(canonicalBytes({ installation_id: id, ...sealed }));
}

function partOf(lines: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  const made = new LineParts((part) => parts.push(part));
  for (const line of lines) made.add(line);
  made.end();
  // Members of gzip follow one another.
  return Buffer.concat(parts);
}
