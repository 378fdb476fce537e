import { closeSync, existsSync, fsyncSync, openSync } from "node:fs";
import { dirname } from "node:path";
import {
  formats,
  INSTALLATION_LOG,
  type ArchivedData,
  archivedEvent,
  type RestoredData,
  restoredEvent,
  parseCanonicalJson,
  parseFormat,
  sha256Hex,
} from "@sovereign/core";
import { type Installation, recordLedgerEvent, typedBy } from "../../installation/index.ts";
import { checkTenant } from "../../runs/index.ts";
import { type ArchiveKeeper, type Batch, keepArchives } from "../../store/index.ts";
import { timestampOf, writingNamed } from "../../system/index.ts";
import { signerOf } from "../backup/signer-of.ts";
import { ARCHIVE, refusedArchive } from "./archive-error.ts";
import type { ArchivedEntry, ArchiveFile } from "./archive-file.ts";
import { digestOfStreams } from "./archive-parts.ts";
import type { ArchiveProgress, ArchiveReport } from "./archive-reports.ts";
import { isSameEntry, readArchive } from "./read-archive.ts";
import { planArchive, writeArchive } from "./write-archive.ts";

/** So many entries leave, or come back, in one transaction. */
const BATCH = 500;

export interface MakeArchiveOptions {
  readonly tenantId: string;
  /** An instant that has passed. */
  readonly before: string;
  /** The file; where it is there already, it is one that was begun, and is gone on with. */
  readonly out: string;
  readonly databaseUrl: string | null;
  readonly version: string;
  readonly onProgress: (progress: ArchiveProgress) => void;
}

/**
 * Move the bytes of a tenant's old runs out of the database into a file. A kill at any instant loses
 * nothing, and the same command goes on: the file is durable, was read back, and is recorded under a signed
 * head before the first byte leaves.
 *
 * @returns null where no run is as old
 * @throws ERR_ARCHIVE_REFUSED, ERR_ARCHIVE_INVALID, ERR_LEDGER_CORRUPT, ERR_FILE_UNWRITABLE
 */
export async function makeArchive(
  installation: Installation,
  options: MakeArchiveOptions,
): Promise<ArchiveReport | null> {
  const { tenantId, before, out, onProgress } = options;
  checkTenant(tenantId);
  if (before > timestampOf(installation.clock)) {
    throw refusedArchive(`Expected a date that has passed, found ${before}.`);
  }
  let counted = { left: 0, damaged: 0 };
  if (!existsSync(out)) {
    const plan = await planArchive(installation, tenantId, before);
    if (plan.streams.size === 0) return null;
    counted = { left: plan.left, damaged: plan.damaged };
    await signHeads(installation, tenantId);
    await writingNamed(
      out,
      (file) =>
        writeArchive(installation, {
          ...options,
          plan,
          write: (bytes) => {
            file.write(bytes);
          },
        }),
      { mode: 0o600, fresh: true },
    );
  }
  const archive = readArchive(out, { trust: installation.keyLog.trustRoot(), onProgress });
  requireOwn(installation, archive, options);
  makeDurable(out);
  onProgress({ event: "archive.step", step: "placed" });
  await compare(installation, archive);
  onProgress({ event: "archive.step", step: "verified" });
  const recordedIndex = await recordOnce(installation, archive);
  onProgress({ event: "archive.step", step: "recorded" });
  await signHeads(installation, tenantId);
  onProgress({ event: "archive.step", step: "signed" });
  const where = { folder: installation.folder.postgres, databaseUrl: options.databaseUrl };
  const taken = await keepArchives(where, tenantId, async (keeper) => {
    await keeper.record(archive.report.digest, recordedIndex, archive.streams);
    onProgress({ event: "archive.step", step: "kept" });
    return moveAll(archive, (batch) => keeper.takeOut(batch), "archive.taken", onProgress);
  });
  return { ...archive.report, file: out, taken, ...counted };
}

/** A file that is there already is the one that this command began, and no other. */
function requireOwn(
  installation: Installation,
  { report }: ArchiveFile,
  { tenantId, before, out }: MakeArchiveOptions,
): void {
  if (report.installation === installation.id && report.tenant === tenantId) {
    if (report.before === before) return;
    const text = `${out} is an archive of runs before ${report.before}. To go on with it, type: sovereign ledger archive --tenant ${tenantId} --before ${report.before} --out ${out}. For another, name a new file.`;
    throw refusedArchive(text);
  }
  const text = `${out} is an archive of the tenant ${report.tenant} of ${report.installation}. Name a new file.`;
  throw refusedArchive(text);
}

/** It may have been copied there, or written by a process that was killed before it was durable. */
function makeDurable(path: string): void {
  for (const one of [path, dirname(path)]) {
    const file = openSync(one, "r");
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }
}

/** Every byte of the file against the rows, before any of them may leave. */
async function compare({ store }: Installation, archive: ArchiveFile): Promise<void> {
  const { tenant, entries } = archive.report;
  const rows = store.archives(tenant);
  let same = 0;
  for await (const row of rows.entriesOf([...archive.streams.keys()])) {
    if (row.sequence >= (archive.streams.get(row.stream)?.count ?? 0)) continue;
    if (!isSameEntry(archive.entry(tenant, row.index), row)) {
      throw ARCHIVE.fault(`entry ${row.index}`, "the ledger has other bytes for it");
    }
    same += 1;
  }
  if (same !== entries) throw ARCHIVE.fault("entries/", `the ledger has ${same} of its entries`);
  // Each was held against its digest when the file was read, so what it holds is what the row has.
  for await (const row of rows.envelopesOf(namedIn(archive))) {
    if (isSameEnvelope(archive, row)) continue;
    throw ARCHIVE.fault(`envelope ${row.digest}`, "the ledger has other bytes for it");
  }
}

function isSameEnvelope(
  archive: ArchiveFile,
  { digest, bytes }: { readonly digest: string; readonly bytes: Uint8Array | null },
): boolean {
  if (bytes === null) return archive.hasEnvelope(digest);
  return !archive.hasEnvelope(digest) || sha256Hex(bytes) === digest;
}

function namedIn(archive: ArchiveFile): string[] {
  const named = new Set<string>();
  for (const { names } of archive.entries()) for (const digest of names) named.add(digest);
  return [...named];
}

/** The entry that records an archive: written once, whoever was killed after it. */
async function recordOnce(installation: Installation, archive: ArchiveFile): Promise<number> {
  const { report, streams } = archive;
  const known = await findRecord(installation, report.digest);
  if (known !== null) return known;
  const data = {
    tenant_id: report.tenant,
    archive: report.digest,
    bytes: report.bytes,
    before: report.before,
    runs: report.runs,
    entries: report.entries,
    envelopes: report.envelopes,
    first_index: report.firstIndex,
    last_index: report.lastIndex,
    streams: digestOfStreams(streams),
    by: typedBy(installation.node),
  };
  const { store, clock } = installation;
  await recordLedgerEvent(store, clock, "ledger.archived", "WARNING", data);
  const made = await findRecord(installation, report.digest);
  if (made === null) throw new Error("the entry that was recorded is not there");
  return made;
}

/** The last entry that says so, unless its bytes were put back since: then it is said again. */
async function findRecord(installation: Installation, digest: string): Promise<number | null> {
  let found: number | null = null;
  for await (const { index, event, data } of archiveRecords(installation)) {
    if (data.archive === digest) found = event === "ledger.archived" ? index : null;
  }
  return found;
}

/** What the installation's log says of archives, in its order. */
export type ArchiveRecord = { readonly index: number; readonly at: string } & (
  | { readonly event: "ledger.archived"; readonly data: ArchivedData }
  | { readonly event: "ledger.restored"; readonly data: RestoredData }
);

export async function* archiveRecords({ store }: Installation): AsyncGenerator<ArchiveRecord> {
  for await (const { index, bytes } of store.readStream(INSTALLATION_LOG, "ledger")) {
    const entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "entry");
    const { event_type: event, timestamp: at, data } = entry;
    if (event === "ledger.archived") {
      yield { index, at, event, data: parseFormat(archivedEvent, data, event) };
    } else if (event === "ledger.restored") {
      yield { index, at, event, data: parseFormat(restoredEvent, data, event) };
    }
  }
}

async function signHeads(installation: Installation, tenantId: string): Promise<void> {
  const signer = await signerOf(installation, "checkpoint");
  for (const log of [tenantId, INSTALLATION_LOG]) {
    await installation.store.sealCheckpoint(log, installation.origin(log), signer);
  }
}

/** @returns how many entries were moved by it */
export async function moveAll(
  archive: ArchiveFile,
  move: (batch: Batch) => ReturnType<ArchiveKeeper["takeOut"]>,
  event: "archive.taken" | "archive.put_back",
  onProgress: (progress: ArchiveProgress) => void,
): Promise<number> {
  const { entries: of } = archive.report;
  let moved = 0;
  let looked = 0;
  let batch: ArchivedEntry[] = [];
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    looked += batch.length;
    moved += await move(batchOf(archive, batch));
    batch = [];
    onProgress({ event, entries: looked, of });
  };
  for (const entry of archive.entries()) {
    batch.push(entry);
    if (batch.length >= BATCH) await flush();
  }
  await flush();
  return moved;
}

function batchOf(archive: ArchiveFile, entries: readonly ArchivedEntry[]): Batch {
  const envelopes = entries.flatMap(({ index, names }) =>
    names
      .filter((digest) => archive.hasEnvelope(digest))
      .map((digest) => ({ digest, index, bytes: () => bytesOf(archive, digest) })),
  );
  return { entries, envelopes };
}

function bytesOf(archive: ArchiveFile, digest: string): Uint8Array {
  const bytes = archive.envelope(archive.report.tenant, digest);
  if (bytes === null) throw ARCHIVE.fault(`envelope ${digest}`, "it is not there any more");
  return bytes;
}
