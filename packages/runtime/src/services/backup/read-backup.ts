import {
  type BackupStatement,
  type Envelope,
  parseCanonicalJson,
  parseFormat,
  sha256Hex,
  type TrustRoot,
} from "@sovereign/core";
import type { Passphrase } from "../../authority/index.ts";
import { DATA_PARTS } from "../../home/index.ts";
import type { DumpedSchema } from "../../store/index.ts";
import { BACKUP, unreadableBackup } from "./backup-error.ts";
import type { BackupProgress, BackupVerification } from "./backup-reports.ts";
import {
  filesPart,
  indexPart,
  type IndexLine,
  linesOf,
  LogTrees,
  LOGS,
  MANIFEST,
  parseIndexLine,
  parseLogLine,
  rowsPart,
  SEALED,
  SUMS,
  sumsOf,
  TABLES,
  tablesFormat,
} from "./parts.ts";
import { type BackupSecrets, isSecretTable, openSecrets } from "./sealed.ts";
import { checkList, openStatement, parseManifest, requireTrusted } from "./signed-parts.ts";
import { readTar, type TarPart } from "./tar.ts";

export interface ReadOptions {
  /** Null to verify without opening what is sealed. */
  readonly passphrase: Passphrase | null;
  readonly trust: TrustRoot | null;
  readonly onProgress: (progress: BackupProgress) => void;
}

/** A backup of which every byte was looked at. */
export interface VerifiedBackup {
  readonly report: BackupVerification;
  readonly schema: DumpedSchema;
  /** Null where no passphrase was given. */
  readonly secrets: BackupSecrets | null;
  /** The digest of each part. */
  readonly sums: ReadonlyMap<string, string>;
}

/**
 * Read a backup from its first byte to its last, believing nothing that can be computed: the digests of its
 * parts, the place and the hash of each entry, the tree of each log, the places of its files.
 *
 * @param path untrusted
 * @throws ERR_BACKUP_INVALID with the place of the first damage, ERR_KEY_PASSPHRASE, ERR_FILE_UNREADABLE
 */
export async function readBackup(path: string, options: ReadOptions): Promise<VerifiedBackup> {
  const reading = new Reading(options);
  for (const part of readTar(path)) reading.take(part);
  return reading.end();
}

/** One reading of a backup, part after part. */
class Reading {
  readonly #options: ReadOptions;
  readonly #sums = new Map<string, string>();
  readonly #trees = new LogTrees();
  readonly #places = new FilePlaces();
  #schema: DumpedSchema | null = null;
  #sealed: Buffer | null = null;
  #list: string | null = null;
  #manifest: Envelope | null = null;
  /** Which numbered part comes next. */
  #next = { rows: "", number: 0, files: 0, index: 0 };
  #rows = 0;
  #bytes = 0;
  #fileBytes = 0;
  #logs = "";

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  take({ name, bytes, at }: TarPart): void {
    if (this.#manifest !== null) throw unreadableBackup(name, "it follows the manifest");
    if (name === MANIFEST) {
      this.#takeManifest(bytes);
      return;
    }
    if (this.#list !== null) throw unreadableBackup(name, `it follows ${SUMS}`);
    if (name === SUMS) this.#list = checkList(this.#sums, bytes, BACKUP);
    else this.#takeContent(name, bytes, at);
    this.#sums.set(name, sha256Hex(bytes));
    if (name !== SUMS) {
      this.#bytes += bytes.length;
      this.#options.onProgress({
        event: "backup.read",
        parts: this.#sums.size,
        bytes: this.#bytes,
      });
    }
  }

  #takeContent(name: string, bytes: Buffer, at: number): void {
    if (name === TABLES) this.#schema = schemaOf(bytes);
    else if (name === SEALED) this.#sealed = bytes;
    else if (name === LOGS) this.#logs = this.#checkLogs(bytes);
    else if (name === filesPart(this.#next.files)) {
      this.#next.files += 1;
      this.#fileBytes += bytes.length;
    } else if (name === indexPart(this.#next.index)) {
      this.#next.index += 1;
      for (const line of linesOf(name, bytes)) this.#places.add(name, parseIndexLine(name, line));
    } else this.#takeRows(name, bytes, at);
  }

  #takeRows(name: string, bytes: Buffer, at: number): void {
    const [, table = ""] = /^database\/([a-z_][a-z0-9_]*)\//.exec(name) ?? [];
    const known = this.#schema?.tables.some((one) => one.name === table) === true;
    if (table !== this.#next.rows) this.#next = { ...this.#next, rows: table, number: 0 };
    if (!known || isSecretTable(table) || name !== rowsPart(table, this.#next.number)) {
      throw unreadableBackup(`byte ${at}`, `no part of a backup has this name or place: ${name}`);
    }
    this.#next.number += 1;
    const rows = linesOf(name, bytes);
    this.#rows += rows.length;
    if (table === "entries") for (const row of rows) this.#trees.add(name, row);
  }

  #checkLogs(bytes: Buffer): string {
    const found = this.#trees.lines;
    const said = found.length === 0 && bytes.length === 0 ? [] : linesOf(LOGS, bytes);
    for (const [index, line] of said.entries()) {
      const { log, size, root } = parseLogLine(LOGS, line);
      const tree = found[index];
      if (tree?.log === log && tree.size === size && tree.root === root) continue;
      throw unreadableBackup(LOGS, `it says ${size} entries of the log ${log}, with another tree`);
    }
    if (said.length !== found.length) throw unreadableBackup(LOGS, "a log is missing in it");
    return LOGS;
  }

  #takeManifest(bytes: Buffer): void {
    if (this.#list === null) throw unreadableBackup(MANIFEST, `no ${SUMS} stands before it`);
    this.#manifest = parseManifest(bytes, BACKUP);
  }

  async end(): Promise<VerifiedBackup> {
    const schema = this.#schema;
    if (this.#manifest === null || schema === null || this.#sealed === null || this.#logs === "") {
      throw unreadableBackup("its end", "a part is missing: it was never completed");
    }
    this.#places.end(this.#fileBytes);
    const { said, signer } = openStatement("backup", this.#manifest, this.#list ?? "", BACKUP);
    this.#checkCounts(said);
    const { passphrase, trust } = this.#options;
    const trustedBy: ("trust root" | "passphrase")[] = [];
    if (trust !== null) {
      requireTrusted(trust, said, signer, BACKUP);
      trustedBy.push("trust root");
    }
    const secrets = passphrase === null ? null : await openSecrets(this.#sealed, passphrase);
    if (secrets !== null) {
      for (const { path } of secrets.files) this.#places.require(SEALED, path, "sealed");
      this.#checkSecrets(secrets);
      trustedBy.push("passphrase");
    }
    const { installation_id: installation, made_at: madeAt, version } = said;
    const { logs, entries, rows, files, parts, bytes } = said;
    const report: BackupVerification = {
      verdict: trustedBy.length > 0 ? "VALID" : "UNTRUSTED_KEY",
      trustedBy,
      installation,
      madeAt,
      version,
      sums: sha256Hex(Buffer.from(this.#list ?? "")),
      logs,
      entries,
      rows,
      files,
      parts,
      bytes,
      signer,
    };
    return { report, schema, secrets, sums: this.#sums };
  }

  #checkCounts(said: BackupStatement): void {
    const { lines } = this.#trees;
    const entries = lines.reduce((sum, { size }) => sum + size, 0);
    // The list of the parts was no part yet when they were counted.
    const parts = this.#sums.size - 1;
    const right =
      said.logs === lines.length &&
      said.entries === entries &&
      said.rows >= this.#rows &&
      said.files >= this.#places.count &&
      said.parts === parts &&
      said.bytes === this.#bytes;
    if (!right) throw unreadableBackup(MANIFEST, "its counts are not those of the parts");
  }

  #checkSecrets({ others, tables }: BackupSecrets): void {
    const rest = [...this.#sums].filter(([name]) => name !== SEALED && name !== SUMS);
    if (others !== sha256Hex(Buffer.from(sumsOf(new Map(rest))))) {
      throw unreadableBackup(SEALED, "it was sealed with other parts than these");
    }
    const stray = Object.keys(tables).find((name) => !isSecretTable(name));
    if (stray !== undefined) throw unreadableBackup(SEALED, `it holds the table ${stray}`);
  }
}

function schemaOf(bytes: Buffer): DumpedSchema {
  try {
    return parseFormat(tablesFormat, parseCanonicalJson(bytes), TABLES);
  } catch (cause) {
    throw unreadableBackup(TABLES, "it is no list of tables", cause);
  }
}

/** Names that a file may have: those of a data folder, each once, none leading out of it. */
class FilePlaces {
  readonly #paths = new Set<string>();
  /** Folders that the files lie in. */
  readonly #folders = new Set<string>();
  #bytes = 0;
  count = 0;

  add(part: string, { path, bytes }: IndexLine): void {
    this.require(part, path, "plain");
    this.#bytes += bytes;
    this.count += 1;
  }

  /** @throws ERR_BACKUP_INVALID */
  require(part: string, path: string, how: "plain" | "sealed"): void {
    const segments = path.split("/");
    const [first = ""] = segments;
    const odd = segments.some(
      (one) => one === "" || one === "." || one === ".." || one.length > 255,
    );
    const own = DATA_PARTS.find(({ name }) => name === first)?.backup;
    const fits = own === how || (own === "chosen" && how === "plain");
    if (odd || path.includes("\0") || !fits) {
      throw unreadableBackup(part, `no file of a data folder has the path ${path.slice(0, 200)}`);
    }
    const above = segments.slice(1).map((_, end) => segments.slice(0, end + 1).join("/"));
    const clash = this.#paths.has(path) || this.#folders.has(path);
    if (clash || above.some((folder) => this.#paths.has(folder))) {
      throw unreadableBackup(part, `${path.slice(0, 200)} stands in it twice`);
    }
    this.#paths.add(path);
    for (const folder of above) this.#folders.add(folder);
  }

  end(bytes: number): void {
    if (bytes === this.#bytes) return;
    throw unreadableBackup(
      "index/",
      `its files have ${this.#bytes} bytes, and files/ has ${bytes}`,
    );
  }
}
