import {
  Frontier,
  nodeHash,
  proveInclusionSet,
  type RangeRoot,
  SovereignError,
  splitOf,
} from "@sovereign/core";
import type pg from "pg";

/** Subtree roots are kept at every eighth level: 256 hashes make one. */
const TILE_HEIGHT = 8;
const TILE = 2 ** TILE_HEIGHT;

/** Hashes of leaves (level 0) or of stored subtrees, `count` of them from `from` on. */
async function hashesAt(
  client: pg.ClientBase,
  log: string,
  level: number,
  from: number,
  count: number,
): Promise<Uint8Array[]> {
  const found =
    level === 0
      ? await client.query<{ hash: Uint8Array }>(
          // The Merkle leaf (RFC 6962 §2.1), which is kept of an entry whose bytes are in an archive.
          "select coalesce(leaf, sha256('\\x00'::bytea || bytes)) as hash from sovereign.entries where log_id = $1 and index >= $2 and index < $3 order by index",
          [log, from, from + count],
        )
      : await client.query<{ hash: Uint8Array }>(
          "select hash from sovereign.nodes where log_id = $1 and level = $2 and index >= $3 and index < $4 order by index",
          [log, level, from, from + count],
        );
  if (found.rows.length !== count) {
    const text = `The tree of the log ${log} misses hashes at level ${level} from ${from} on. Type: sovereign repair ledger`;
    throw new SovereignError("ERR_LEDGER_CORRUPT", text, { log, level, from });
  }
  return found.rows.map((row) => row.hash);
}

/**
 * The root of the leaves `from` … `to - 1`, which are a subtree of the log's tree, from as few
 * stored hashes as there are.
 */
async function rangeRoot(
  client: pg.ClientBase,
  log: string,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const size = to - from;
  const height = Math.log2(size);
  if (!Number.isInteger(height)) {
    const middle = from + splitOf(size);
    return nodeHash(
      await rangeRoot(client, log, from, middle),
      await rangeRoot(client, log, middle, to),
    );
  }
  const level = Math.floor(height / TILE_HEIGHT) * TILE_HEIGHT;
  const unit = 2 ** level;
  return fold(await hashesAt(client, log, level, from / unit, size / unit));
}

/** The root over hashes of equal height; their number is a power of two. */
function fold(hashes: readonly Uint8Array[]): Uint8Array {
  let row = hashes;
  while (row.length > 1) {
    const above: Uint8Array[] = [];
    for (let at = 0; at < row.length; at += 2) {
      above.push(nodeHash(row[at] as Uint8Array, row[at + 1] as Uint8Array));
    }
    row = above;
  }
  return row[0] as Uint8Array;
}

/** The root of the whole tree of `size` leaves. */
export async function rootAt(
  client: pg.ClientBase,
  log: string,
  size: number,
): Promise<Uint8Array> {
  if (size === 0) return new Frontier().root();
  return rangeRoot(client, log, 0, size);
}

/** A set inclusion proof from stored hashes. The walk is done twice: to ask, then to answer. */
export async function proveSet(
  client: pg.ClientBase,
  log: string,
  size: number,
  indices: readonly number[],
): Promise<Uint8Array[]> {
  const wanted: [number, number][] = [];
  const ask: RangeRoot = (from, to) => {
    wanted.push([from, to]);
    return new Uint8Array();
  };
  proveInclusionSet(size, indices, ask);
  const answers: Uint8Array[] = [];
  for (const [from, to] of wanted) answers.push(await rangeRoot(client, log, from, to));
  return answers;
}

/** Append the leaves that came since the last checkpoint. Memory does not grow with their number. */
export async function growFrontier(
  client: pg.ClientBase,
  log: string,
  frontier: Frontier,
  size: number,
): Promise<Frontier> {
  for (let from = frontier.size; from < size; from += TILE) {
    const hashes = await hashesAt(client, log, 0, from, Math.min(TILE, size - from));
    for (const hash of hashes) frontier.append(hash);
  }
  return frontier;
}
