import {
  canonicalBytes,
  equalBytes,
  formats,
  Frontier,
  hexEncode,
  INSTALLATION_LOG,
  isSovereignError,
  leafHash,
  type LedgerEntry,
  parseCanonicalJson,
  parseCheckpointText,
  parseFormat,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import pg from "pg";
import { EMPTY_STREAM, type StreamHead } from "../ledger/index.ts";
import { parseDatabaseUrl } from "./database-url.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "./embedded.ts";
import { HeadFile } from "./head-file.ts";
import { migrate } from "./migrate.ts";
import type { StoreOptions } from "./store.ts";
import { hangUp } from "./hang-up.ts";

const PAGE = 1000;
/** Tiles of the tree are of so many leaves. */
const TILE = 256;
const INSTALLATION_STREAMS = /^(keys|nodes|ledger|scram(\/nod_[a-z0-9]{20})?)$/;
const SET_ASIDE = "set-aside/";

/** One thing in the ledger that is not as it should be. */
export interface LedgerFinding {
  readonly log: string;
  readonly kind: "entry" | "gap" | "signed head" | "tree node" | "head file" | "time" | "switch";
  /** The entry's index, the head's size, or the switch's version. */
  readonly place: number;
  readonly found: string;
  /** `left` is for people to look at: nothing was changed. */
  readonly done: "set aside" | "filled" | "computed again" | "left";
}

export interface RepairOptions extends StoreOptions {
  /** Go on with a database that holds less than was signed: what it lacks is lost. */
  readonly acceptRollback: boolean;
}

interface EntryRow {
  readonly index: string;
  readonly stream: string;
  readonly sequence: string;
  readonly hash: string;
  /** Null where they are in an archive: what is left is the leaf. */
  readonly bytes: Uint8Array | null;
  readonly leaf: Uint8Array | null;
  /** Of the run's last entry in an archive. */
  readonly seal: string | null;
}

/**
 * Look at every log, and move what is no evidence out of the way. No byte of an entry is changed or lost.
 * It acts as the database's owner; nothing else may be open.
 *
 * @throws ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE
 */
export async function repairLedger(options: RepairOptions): Promise<LedgerFinding[]> {
  const target =
    options.databaseUrl === null
      ? await startEmbedded(options.folder)
      : parseDatabaseUrl(options.databaseUrl);
  const client = new pg.Client(ownerConfig(target));
  client.on("error", () => undefined);
  try {
    await client.connect();
    await migrate(client, target.kind === "embedded");
    const logs = await client.query<{ log_id: string }>(
      "select log_id from sovereign.logs order by log_id",
    );
    const findings: LedgerFinding[] = [];
    for (const { log_id } of logs.rows) {
      const ofLog = await inTransaction(client, () => repairLog(client, log_id, options));
      for (const finding of ofLog) findings.push(finding);
    }
    return findings;
  } finally {
    await hangUp(client);
    await stopEmbedded(target, options.folder);
  }
}

/** Set one entry aside that is well formed and still no evidence. For who can judge what it says. */
export async function setEntryAside(
  options: StoreOptions,
  log: string,
  index: number,
  reason: string,
): Promise<void> {
  const target =
    options.databaseUrl === null
      ? await startEmbedded(options.folder)
      : parseDatabaseUrl(options.databaseUrl);
  const client = new pg.Client(ownerConfig(target));
  client.on("error", () => undefined);
  try {
    await client.connect();
    await inTransaction(client, () => moveEntry(client, log, index, reason));
  } finally {
    await hangUp(client);
  }
}

async function inTransaction<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    const value = await work();
    await client.query("commit");
    return value;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

async function repairLog(
  client: pg.Client,
  log: string,
  options: RepairOptions,
): Promise<LedgerFinding[]> {
  await client.query("select 1 from sovereign.logs where log_id = $1 for update", [log]);
  const findings: LedgerFinding[] = [];
  const heads = await client.query<SignedRow>(
    "select size, note, frontier from sovereign.checkpoints where log_id = $1 order by size",
    [log],
  );
  const walk = new Walk(client, log, heads.rows, findings);
  await walk.run();
  await repairHeadFile(client, log, options, walk, findings);
  return findings;
}

interface SignedRow {
  readonly size: string;
  readonly note: string;
  readonly frontier: Uint8Array;
}

/** One pass over a log: entries, their chains, and the tree over them. */
class Walk {
  readonly frontier = new Frontier();
  /** The roots at the sizes that were asked for. */
  readonly roots = new Map<number, Uint8Array>();
  readonly #client: pg.Client;
  readonly #log: string;
  readonly #signed: readonly SignedRow[];
  readonly #findings: LedgerFinding[];
  readonly #heads = new Map<string, StreamHead>();
  readonly #times = new Map<string, string>();
  readonly #tiles: Frontier[] = [];
  #next = 0;

  constructor(
    client: pg.Client,
    log: string,
    signed: readonly SignedRow[],
    findings: LedgerFinding[],
  ) {
    this.#client = client;
    this.#log = log;
    this.#signed = signed;
    this.#findings = findings;
  }

  async run(): Promise<void> {
    for (let from = 0; ; ) {
      const page = await this.#client.query<EntryRow>(
        "select index, stream, sequence, encode(hash, 'hex') as hash, bytes, leaf, case when bytes is null then (select encode(s.head, 'hex') from sovereign.archived_streams s where s.log_id = e.log_id and s.stream = e.stream and s.count = e.sequence + 1 limit 1) end as seal from sovereign.entries e where log_id = $1 and index >= $2 order by index limit $3",
        [this.#log, from, PAGE],
      );
      for (const row of page.rows) await this.#entry(row);
      if (page.rows.length < PAGE) break;
      from = Number(page.rows.at(-1)?.index) + 1;
    }
    await this.#checkHeads();
  }

  async #entry(row: EntryRow): Promise<void> {
    const index = Number(row.index);
    while (this.#next < index) await this.#fill(this.#next);
    await this.#leaf(row.leaf ?? leafHash(row.bytes ?? new Uint8Array()));
    if (row.stream.startsWith(SET_ASIDE)) return;
    const head = this.#heads.get(row.stream) ?? EMPTY_STREAM;
    const { bytes } = row;
    const found =
      bytes === null ? archivedFault(row, head) : faultOf(this.#log, { ...row, bytes }, head);
    if (typeof found === "string") {
      await moveEntry(this.#client, this.#log, index, found);
      this.#note("entry", index, found, "set aside");
      return;
    }
    this.#heads.set(row.stream, { count: head.count + 1, hash: row.hash });
    if (found === null) return;
    const before = this.#times.get(row.stream) ?? "";
    if (found.timestamp < before) {
      const back = Date.parse(before) - Date.parse(found.timestamp);
      this.#note("time", index, `its time is ${back} ms before the entry before it`, "left");
    }
    this.#times.set(row.stream, found.timestamp);
  }

  /** A place without an entry: no tree can be made over it. */
  async #fill(index: number): Promise<void> {
    const bytes = canonicalBytes({ filled: "no entry stood here", index });
    await this.#client.query(
      "insert into sovereign.entries (log_id, index, stream, sequence, hash, bytes) values ($1, $2, $3, $2, sha256($4), $4)",
      [this.#log, index, `${SET_ASIDE}gap`, Buffer.from(bytes)],
    );
    this.#note("gap", index, "no entry stands here", "filled");
    await this.#leaf(leafHash(bytes));
  }

  async #leaf(hash: Uint8Array): Promise<void> {
    this.frontier.append(hash);
    this.#next += 1;
    for (const row of this.#signed) {
      if (Number(row.size) === this.#next) this.roots.set(this.#next, this.frontier.root());
    }
    await this.#tile(8, this.#next, hash);
  }

  /** Every stored level has a tree of its own, over the roots of the level below. */
  async #tile(level: number, count: number, hash: Uint8Array): Promise<void> {
    const tile = (this.#tiles[level / 8 - 1] ??= new Frontier());
    tile.append(hash);
    if (tile.size < TILE) return;
    this.#tiles[level / 8 - 1] = new Frontier();
    const root = tile.root();
    await this.#node(level, count / TILE - 1, root);
    await this.#tile(level + 8, count / TILE, root);
  }

  async #node(level: number, index: number, hash: Uint8Array): Promise<void> {
    const found = await this.#client.query<{ hash: Uint8Array }>(
      "select hash from sovereign.nodes where log_id = $1 and level = $2 and index = $3",
      [this.#log, level, index],
    );
    const row = found.rows[0];
    if (row !== undefined && equalBytes(row.hash, hash)) return;
    const where = "log_id = $1 and level = $2 and index = $3";
    const values = [this.#log, level, index];
    if (row !== undefined) {
      await moveRow(this.#client, "nodes", where, values, "tree node", index);
      const text = `node ${index} of level ${level} is not the root of its ${2 ** level} entries`;
      this.#note("tree node", index * 2 ** level, text, "computed again");
    }
    // One that is missing may not be due yet: to have it early does no harm.
    await this.#client.query(
      "insert into sovereign.nodes (log_id, level, index, hash) values ($1, $2, $3, $4)",
      [this.#log, level, index, Buffer.from(hash)],
    );
  }

  async #checkHeads(): Promise<void> {
    for (const { size, note } of this.#signed) {
      const root = this.roots.get(Number(size));
      const found = headFault(Number(size), note, root, this.#next);
      if (found === null) continue;
      const where = "log_id = $1 and size = $2";
      const values = [this.#log, Number(size)];
      await moveRow(this.#client, "checkpoints", where, values, "signed head", Number(size));
      this.#note("signed head", Number(size), found, "set aside");
    }
  }

  #note(
    kind: LedgerFinding["kind"],
    place: number,
    found: string,
    done: LedgerFinding["done"],
  ): void {
    this.#findings.push({ log: this.#log, kind, place, found, done });
  }
}

function headFault(
  size: number,
  note: string,
  root: Uint8Array | undefined,
  entries: number,
): string | null {
  if (size > entries) return `it says ${size} entries, and the log has ${entries}`;
  try {
    const said = parseCheckpointText(`${note.split("\n").slice(0, 3).join("\n")}\n`);
    if (said.size !== size) return `it says ${said.size} entries, and is kept as of ${size}`;
    if (size === 0 || (root !== undefined && equalBytes(said.root, root))) return null;
    return `it says the root ${hexEncode(said.root)}, and the entries have ${root === undefined ? "none" : hexEncode(root)}`;
  } catch (error) {
    return error instanceof Error ? error.message : "it cannot be read";
  }
}

/** Of what is in an archive the row alone is left. Restoring it holds its bytes against the hash. */
function archivedFault({ sequence, seal, hash }: EntryRow, head: StreamHead): string | null {
  if (Number(sequence) !== head.count) {
    return `it has sequence ${sequence}, and the stream has ${head.count} before it`;
  }
  return seal === null || seal === hash ? null : "its hash is not the one that was archived";
}

/** The entry where it is what its place in the stream asks for, else why it is not. */
function faultOf(
  log: string,
  row: EntryRow & { readonly bytes: Uint8Array },
  head: StreamHead,
): LedgerEntry | string {
  if (sha256Hex(row.bytes) !== row.hash) return "its hash is not that of its bytes";
  if (log === INSTALLATION_LOG && !INSTALLATION_STREAMS.test(row.stream)) {
    return `the installation's log has no stream ${row.stream}`;
  }
  let entry: LedgerEntry;
  try {
    entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(row.bytes), "entry");
  } catch (error) {
    return isSovereignError(error) ? `it is no entry: ${error.message}` : "it is no entry";
  }
  if (log === INSTALLATION_LOG && entry.tenant_id !== log) return `it is of ${entry.tenant_id}`;
  if (entry.stream !== row.stream) return `it is of the stream ${entry.stream}`;
  const placed = Number(row.sequence) === head.count && entry.sequence === head.count;
  if (!placed)
    return `it says sequence ${entry.sequence}, and the stream has ${head.count} before it`;
  return entry.previous_hash === head.hash ? entry : "it does not follow the entry before it";
}

async function moveEntry(
  client: pg.Client,
  log: string,
  index: number,
  reason: string,
): Promise<void> {
  await client.query(
    "insert into sovereign.set_aside (log_id, kind, place, reason, row_was) select log_id, 'entry', index, $3, jsonb_build_object('stream', stream, 'sequence', sequence) from sovereign.entries where log_id = $1 and index = $2",
    [log, index, reason.slice(0, 500)],
  );
  await client.query(
    "update sovereign.entries set stream = $3, sequence = index where log_id = $1 and index = $2",
    [log, index, `${SET_ASIDE}entries`],
  );
}

async function moveRow(
  client: pg.Client,
  table: "nodes" | "checkpoints",
  where: string,
  values: readonly unknown[],
  kind: LedgerFinding["kind"],
  place: number,
): Promise<void> {
  const more = values.length + 1;
  await client.query(
    `insert into sovereign.set_aside (log_id, kind, place, reason, row_was) select log_id, $${more}, $${more + 1}, '', to_jsonb(t) from sovereign.${table} t where ${where}`,
    [...values, kind, place],
  );
  await client.query(`delete from sovereign.${table} where ${where}`, [...values]);
}

/** The head that was signed last, outside the database, beside what is in it. */
async function repairHeadFile(
  client: pg.Client,
  log: string,
  options: RepairOptions,
  walk: Walk,
  findings: LedgerFinding[],
): Promise<void> {
  const file = new HeadFile(options.headsFolder, log);
  const last = await client.query<{ size: string }>(
    "select size from sovereign.checkpoints where log_id = $1 order by size desc limit 1",
    [log],
  );
  const size = Number(last.rows[0]?.size ?? 0);
  const root = walk.roots.get(size);
  const aside = (place: number, found: string): void => {
    file.setAside(`${process.pid}-${findings.length}`);
    if (root !== undefined) file.write({ size, root: hexEncode(root) });
    findings.push({ log, kind: "head file", place, found, done: "set aside" });
  };
  try {
    const signed = file.read();
    if (signed === null || signed.size === 0 || signed.size < size) return;
    const same = signed.size === size && root !== undefined && signed.root === hexEncode(root);
    if (same) return;
    const found = `${file.path} says ${signed.size} entries with root ${signed.root} were signed, and the database does not hold that tree`;
    if (options.acceptRollback) aside(signed.size, found);
    else findings.push({ log, kind: "head file", place: signed.size, found, done: "left" });
  } catch (error) {
    if (!(error instanceof SovereignError)) throw error;
    aside(0, `${file.path} is damaged`);
  }
}
