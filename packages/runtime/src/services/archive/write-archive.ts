import {
  base64Encode,
  canonicalBytes,
  canonicalize,
  entryData,
  hexEncode,
  isSovereignError,
  type JsonObject,
  type LedgerEntry,
  parseCanonicalJson,
  parseFormat,
  formats,
  type PlacedEntry,
  predicateType,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { signStatement } from "../../authority/index.ts";
import type { Installation } from "../../installation/index.ts";
import { EMPTY_STREAM, type StreamHead } from "../../ledger/index.ts";
import type { ArchiveRows, LogRow, OldRun } from "../../store/index.ts";
import { timestampOf } from "../../system/index.ts";
import { signerOf } from "../backup/signer-of.ts";
import { LineParts, MANIFEST, SUMS } from "../backup/parts.ts";
import { PartsWriter } from "../backup/parts-writer.ts";
import { tarEnd } from "../backup/tar.ts";
import {
  digestOfStreams,
  ENTRIES_MAX,
  entriesPart,
  envelopesIn,
  envelopesPart,
  LOG,
  RUNS_MAX,
} from "./archive-parts.ts";
import type { ArchiveProgress } from "./archive-reports.ts";

/** Runs that go into one archive. */
export interface ArchivePlan {
  readonly streams: ReadonlyMap<string, StreamHead>;
  /** Runs that are as old and do not fit in. */
  readonly left: number;
  /** Runs that are as old and no whole chain: a repair set something of them aside, or has yet to. */
  readonly damaged: number;
}

/** The runs of a tenant that were sealed before an instant, as their entries say. */
export async function planArchive(
  { store }: Installation,
  tenantId: string,
  before: string,
): Promise<ArchivePlan> {
  const rows = store.archives(tenantId);
  const streams = new Map<string, StreamHead>();
  let entries = 0;
  let left = 0;
  let damaged = 0;
  for await (const run of rows.oldRuns()) {
    if (!isSealedBefore(run, before)) continue;
    const fits = streams.size < RUNS_MAX && entries + run.head.count <= ENTRIES_MAX;
    if (streams.size > 0 && !fits) {
      left += 1;
    } else if (await isWhole(rows, tenantId, run)) {
      streams.set(run.runId, run.head);
      entries += run.head.count;
    } else damaged += 1;
  }
  return { streams, left, damaged };
}

function isSealedBefore({ last }: OldRun, before: string): boolean {
  try {
    const { event_type: event, timestamp, data } = parseEntry(last);
    const isSeal = event === "run.sealed" && entryData["run.sealed"].safeParse(data).success;
    return isSeal && timestamp < before;
  } catch (error) {
    // What is no entry is no seal.
    if (isSovereignError(error)) return false;
    throw error;
  }
}

/** Whether all entries of a run agree with one another. One that does not keeps no other from leaving. */
async function isWhole(rows: ArchiveRows, tenantId: string, run: OldRun): Promise<boolean> {
  let head = EMPTY_STREAM;
  try {
    for await (const row of rows.entriesOf([run.runId])) {
      placedOf(tenantId, row, head);
      head = { count: head.count + 1, hash: row.hash };
    }
  } catch (error) {
    if (isSovereignError(error, "ERR_LEDGER_CORRUPT")) return false;
    throw error;
  }
  return head.count === run.head.count && head.hash === run.head.hash;
}

export interface WriteArchiveOptions {
  readonly tenantId: string;
  readonly before: string;
  readonly version: string;
  readonly plan: ArchivePlan;
  readonly write: (bytes: Uint8Array) => void;
  readonly onProgress: (progress: ArchiveProgress) => void;
}

/**
 * Write the entries of runs, with their envelopes and the proof that they stand under a signed head.
 * @throws ERR_LEDGER_CORRUPT where an entry is not what it should be, ERR_KEY_NOT_IN_FORCE
 */
export async function writeArchive(
  installation: Installation,
  options: WriteArchiveOptions,
): Promise<void> {
  const { keyLog, store, clock, id } = installation;
  const { tenantId, before, version, plan, write } = options;
  const signer = await signerOf(installation, "attestation");
  const parts = new PartsWriter(write);
  const written = await writeEntries(installation, options, parts);
  const envelopes = await writeEnvelopes(installation, tenantId, written.named, parts);
  const { indices } = written;
  const last = indices.at(-1) ?? 0;
  const checkpoint = await store.checkpointCovering(tenantId, last + 1);
  if (checkpoint === null) {
    const text = `The log ${tenantId} has no signed head over entry ${last}. Type the command again.`;
    throw new SovereignError("ERR_CHECKPOINT_MISSING", text, { log: tenantId });
  }
  const proof = await store.proveInclusionSet(tenantId, checkpoint.size, indices);
  const log = {
    origin: installation.origin(tenantId),
    checkpoint: checkpoint.note,
    proof: proof.map((hash) => hexEncode(hash)),
  };
  parts.add(LOG, Buffer.from(canonicalBytes(log)));
  const { count, head } = keyLog.head();
  const counted = { parts: parts.parts, bytes: parts.bytes };
  const subject = { name: SUMS, sha256: parts.addSums() };
  const predicate = {
    installation_id: id,
    tenant_id: tenantId,
    made_at: timestampOf(clock),
    public_key: base64Encode(signer.publicKey.raw),
    version,
    key_log: { count, head },
    before,
    runs: plan.streams.size,
    entries: indices.length,
    envelopes,
    first_index: indices[0] ?? 0,
    last_index: last,
    streams: digestOfStreams(plan.streams),
    ...counted,
  };
  const envelope = signStatement([subject], predicateType("archive"), predicate, signer);
  parts.add(MANIFEST, Buffer.from(canonicalBytes(envelope)));
  write(tarEnd());
}

interface WrittenEntries {
  readonly indices: readonly number[];
  readonly named: ReadonlySet<string>;
}

async function writeEntries(
  { store }: Installation,
  { tenantId, plan, onProgress }: WriteArchiveOptions,
  parts: PartsWriter,
): Promise<WrittenEntries> {
  const indices: number[] = [];
  const named = new Set<string>();
  const heads = new Map<string, StreamHead>();
  const lines = partsOf(parts, entriesPart);
  for await (const row of store.archives(tenantId).entriesOf([...plan.streams.keys()])) {
    const { count } = plan.streams.get(row.stream) ?? EMPTY_STREAM;
    // What came later stays: the run has grown, and its record will be refused.
    if (row.sequence >= count) continue;
    const placed = placedOf(tenantId, row, heads.get(row.stream) ?? EMPTY_STREAM);
    heads.set(row.stream, { count: row.sequence + 1, hash: row.hash });
    lines.add(canonicalize({ ...placed }));
    indices.push(row.index);
    for (const digest of envelopesIn(placed)) named.add(digest);
    onProgress({ event: "archive.written", entries: indices.length });
  }
  lines.end();
  return { indices, named };
}

/** An entry that its bytes, its hash and its place in its run agree on. */
function placedOf(log: string, row: LogRow, head: StreamHead): PlacedEntry {
  const { index, hash, stream, sequence, bytes } = row;
  const wrong = (why: string, cause?: unknown): SovereignError => {
    const text = `Entry ${index} of the log ${log} cannot be archived: ${why}. Type: sovereign repair ledger`;
    return new SovereignError("ERR_LEDGER_CORRUPT", text, { log, index }, cause);
  };
  if (bytes === null) throw wrong("its bytes left the database meanwhile");
  if (sha256Hex(bytes) !== hash) throw wrong("its hash is not that of its bytes");
  let entry: LedgerEntry;
  try {
    entry = parseEntry(bytes);
  } catch (cause) {
    throw wrong("it is no entry", cause);
  }
  const follows =
    entry.stream === stream &&
    entry.run_id === stream &&
    entry.tenant_id === log &&
    entry.sequence === sequence &&
    sequence === head.count &&
    entry.previous_hash === head.hash;
  if (!follows) throw wrong("it does not follow the entry before it in its run");
  return { index, hash, entry };
}

function parseEntry(bytes: Uint8Array): LedgerEntry {
  return parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "entry");
}

async function writeEnvelopes(
  { store }: Installation,
  tenantId: string,
  named: ReadonlySet<string>,
  parts: PartsWriter,
): Promise<number> {
  let count = 0;
  const lines = partsOf(parts, envelopesPart);
  for await (const { digest, bytes } of store.archives(tenantId).envelopesOf([...named])) {
    const envelope = bytes === null ? null : canonicalOf(digest, bytes);
    // What is not its digest's, or is written in another way, stays in the database.
    if (envelope === null) continue;
    lines.add(canonicalize({ digest, envelope }));
    count += 1;
  }
  lines.end();
  return count;
}

function canonicalOf(digest: string, bytes: Uint8Array): JsonObject | null {
  if (sha256Hex(bytes) !== digest) return null;
  try {
    return parseFormat(formats.metadata, parseCanonicalJson(bytes), "envelope");
  } catch (error) {
    if (isSovereignError(error)) return null;
    throw error;
  }
}

function partsOf(parts: PartsWriter, nameOf: (number: number) => string): LineParts {
  let number = 0;
  return new LineParts((bytes) => {
    parts.add(nameOf(number++), bytes);
  });
}
