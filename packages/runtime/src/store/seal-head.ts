import {
  equalBytes,
  Frontier,
  hexEncode,
  type Signer,
  SovereignError,
  signCheckpoint,
} from "@sovereign/core";
import type pg from "pg";
import type { StoredCheckpoint } from "../ledger/index.ts";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";
import type { HeadFile, SignedHead } from "./head-file.ts";
import { growFrontier, rootAt } from "./log-tree.ts";

/** The last signed head, outside the database. */
type KeptHead = Pick<HeadFile, "path" | "read" | "write">;

export interface SealedLog {
  readonly log: string;
  /** The log's origin line. */
  readonly origin: string;
  readonly signer: Signer;
}

/**
 * Sign the log's head as it is now, or return a later one that another has signed meanwhile.
 *
 * INVARIANT: a head that is smaller than, or differs from, one that was signed before is never signed.
 * @throws ERR_LEDGER_ROLLED_BACK
 */
export async function sealHead(
  database: Database,
  heads: KeptHead,
  sealed: SealedLog,
): Promise<StoredCheckpoint> {
  const { log, origin, signer } = sealed;
  const head = await database.read(claimOf(log, "checkpoint"), async (client) => {
    // Others go on meanwhile: what was signed is read before that of which it must be a part.
    const signed = heads.read();
    const size = await logSize(client, log);
    await refuseRollback(client, log, size, signed, heads.path);
    const last = await newest(client, log);
    if (last !== null && last.size >= size) return { size: last.size, note: last.note };
    const before = last === null ? new Frontier() : restore(last.size, last.frontier);
    const frontier = await growFrontier(client, log, before, size);
    const note = signCheckpoint({ origin, size, root: frontier.root() }, signer);
    // The function computes the tree from the entries, too, and keeps what it found.
    await client.query("select sovereign.save_checkpoint($1, $2)", [size, note]);
    // Before the commit: a process that is killed leaves no signed head that the file does not hold.
    // The entries under it are in the database already, so a file that holds more is right, too.
    if ((signed?.size ?? -1) < size) heads.write({ size, root: hexEncode(frontier.root()) });
    return { size, note };
  });
  await keepHead(database, heads, log);
  return head;
}

/**
 * Another machine may have saved a larger one; and an earlier version wrote the file after the commit,
 * where it may have been killed.
 */
async function keepHead(database: Database, heads: KeptHead, log: string): Promise<void> {
  await database.read(claimOf(log), async (client) => {
    const size = (await newest(client, log))?.size ?? 0;
    if ((heads.read()?.size ?? -1) >= size) return;
    heads.write({ size, root: hexEncode(await rootAt(client, log, size)) });
  });
}

async function newest(
  client: pg.ClientBase,
  log: string,
): Promise<{ size: number; note: string; frontier: Uint8Array } | null> {
  const { rows } = await client.query<{ size: string; note: string; frontier: Uint8Array }>(
    "select size, note, frontier from sovereign.checkpoints where log_id = $1 order by size desc limit 1",
    [log],
  );
  return rows[0] === undefined ? null : { ...rows[0], size: Number(rows[0].size) };
}

async function logSize(client: pg.ClientBase, log: string): Promise<number> {
  const found = await client.query<{ size: string }>(
    "select index + 1 as size from sovereign.entries where log_id = $1 order by index desc limit 1",
    [log],
  );
  return Number(found.rows[0]?.size ?? 0);
}

async function refuseRollback(
  client: pg.ClientBase,
  log: string,
  size: number,
  signed: SignedHead | null,
  path: string,
): Promise<void> {
  if (signed === null) return;
  const same =
    signed.size <= size &&
    equalBytes(await rootAt(client, log, signed.size), Buffer.from(signed.root, "hex"));
  if (same) return;
  throw new SovereignError(
    "ERR_LEDGER_ROLLED_BACK",
    `The log ${log} was signed at ${signed.size} entries with root ${signed.root}; the database (${size} entries) does not hold that tree. Nothing is signed. Restore the database that belongs to ${path}; where it is lost, type: sovereign repair ledger --accept-rollback`,
    { log, signed: signed.size, found: size },
  );
}

function restore(size: number, frontier: Uint8Array): Frontier {
  const nodes: Uint8Array[] = [];
  for (let at = 0; at < frontier.length; at += 32) nodes.push(frontier.subarray(at, at + 32));
  return new Frontier(size, nodes);
}
