import { createHash } from "node:crypto";
import { closeSync, fstatSync, readSync } from "node:fs";
import {
  type ArchiveStatement,
  canonicalBytes,
  type Checkpoint,
  type Envelope,
  equalBytes,
  leafHash,
  parseCheckpointText,
  type PlacedEntry,
  type PlacedLeaf,
  sha256Hex,
  type TrustRoot,
  verifyInclusionSet,
} from "@sovereign/core";
import { openTrusted } from "@sovereign/verify";
import { EMPTY_STREAM, type StreamHead } from "../../ledger/index.ts";
import { linesOf, MANIFEST, SUMS } from "../backup/parts.ts";
import { checkList, openStatement, parseManifest, requireTrusted } from "../backup/signed-parts.ts";
import { openParts, readTar, type TarPart } from "../backup/tar.ts";
import { ARCHIVE } from "./archive-error.ts";
import { ArchiveFile, type ArchivePart, type EntriesPart } from "./archive-file.ts";
import {
  digestOfStreams,
  entriesPart,
  envelopesIn,
  envelopesPart,
  LOG,
  type LogPart,
  parseEntryLine,
  parseEnvelopeLine,
  parseLogPart,
} from "./archive-parts.ts";
import type { ArchiveProgress, ArchiveVerification } from "./archive-reports.ts";

export interface ReadArchiveOptions {
  /** Null to look at every byte, and not at whose signature it has. */
  readonly trust: TrustRoot | null;
  readonly onProgress: (progress: ArchiveProgress) => void;
}

/**
 * Read an archive from its first byte to its last, believing nothing that can be computed: the digests of
 * its parts, the hash and the chain of each entry, that each run is whole and sealed, and that all of them
 * stand under a signed head of the log.
 *
 * @param path untrusted
 * @throws ERR_ARCHIVE_INVALID with the place of the first damage, ERR_FILE_UNREADABLE
 */
export function readArchive(path: string, options: ReadArchiveOptions): ArchiveFile {
  const { digest, size } = digestOfFile(path);
  const reading = new Reading(options);
  for (const part of readTar(path, ARCHIVE)) reading.take(part);
  const report = reading.end(digest, size);
  const { streams, entryParts, envelopeParts } = reading;
  return new ArchiveFile(path, { report, streams, entryParts, envelopeParts });
}

function digestOfFile(path: string): { digest: string; size: number } {
  const file = openParts(path, ARCHIVE);
  try {
    const hash = createHash("sha256");
    const block = Buffer.alloc(1024 * 1024);
    for (let read = 1; read > 0; ) {
      read = readSync(file, block, 0, block.length, null);
      hash.update(block.subarray(0, read));
    }
    return { digest: hash.digest("hex"), size: fstatSync(file).size };
  } finally {
    closeSync(file);
  }
}

/** One reading of an archive, part after part. */
class Reading {
  readonly #options: ReadArchiveOptions;
  readonly #sums = new Map<string, string>();
  readonly streams = new Map<string, StreamHead>();
  readonly entryParts: EntriesPart[] = [];
  readonly envelopeParts = new Map<string, ArchivePart>();
  readonly #leaves: PlacedLeaf[] = [];
  /** The runs of which no seal has been read. */
  readonly #open = new Set<string>();
  /** Envelopes that an entry names. */
  readonly #named = new Set<string>();
  readonly #tenants = new Set<string>();
  /** How many parts of envelopes were read. */
  #envelopes = 0;
  #bytes = 0;
  #log: LogPart | null = null;
  #list: string | null = null;
  #manifest: Envelope | null = null;

  constructor(options: ReadArchiveOptions) {
    this.#options = options;
  }

  take({ name, bytes, at }: TarPart): void {
    if (this.#manifest !== null) throw ARCHIVE.fault(name, "it follows the manifest");
    if (name === MANIFEST) {
      if (this.#list === null) throw ARCHIVE.fault(name, `no ${SUMS} stands before it`);
      this.#manifest = parseManifest(bytes, ARCHIVE);
      return;
    }
    if (this.#list !== null) throw ARCHIVE.fault(name, `it follows ${SUMS}`);
    if (name === SUMS) {
      this.#list = checkList(this.#sums, bytes, ARCHIVE);
      return;
    }
    const later = this.#log !== null;
    if (!later && name === LOG) this.#log = parseLogPart(bytes);
    else if (!later && name === envelopesPart(this.#envelopes)) {
      this.#takeEnvelopes(name, bytes, at);
    } else if (this.#takesEntries(name)) this.#takeEntries(name, bytes, at);
    else throw ARCHIVE.fault(`byte ${at}`, `no part of an archive has this name or place: ${name}`);
    this.#sums.set(name, sha256Hex(bytes));
    this.#bytes += bytes.length;
    this.#options.onProgress({ event: "archive.read", entries: this.#leaves.length });
  }

  #takesEntries(name: string): boolean {
    const before = this.#log === null && this.#envelopes === 0;
    return before && name === entriesPart(this.entryParts.length);
  }

  #takeEntries(name: string, bytes: Buffer, at: number): void {
    let first: number | null = null;
    for (const line of linesOf(name, bytes, ARCHIVE)) {
      const placed = parseEntryLine(name, line);
      first ??= placed.index;
      this.#follow(name, placed);
    }
    this.entryParts.push({ name, at, first: first ?? 0, last: this.#leaves.at(-1)?.index ?? 0 });
  }

  #follow(part: string, placed: PlacedEntry): void {
    const { index, hash, entry } = placed;
    const place = `${part}, entry ${index}`;
    if (index <= (this.#leaves.at(-1)?.index ?? -1))
      throw ARCHIVE.fault(place, "it is out of order");
    const bytes = canonicalBytes(entry);
    if (sha256Hex(bytes) !== hash) throw ARCHIVE.fault(place, "it is not what its hash says");
    const { stream } = entry;
    const head = this.streams.get(stream) ?? EMPTY_STREAM;
    if (
      entry.run_id !== stream ||
      entry.sequence !== head.count ||
      entry.previous_hash !== head.hash
    ) {
      throw ARCHIVE.fault(place, `it does not follow the entry before it of ${stream}`);
    }
    this.streams.set(stream, { count: head.count + 1, hash });
    if (entry.event_type === "run.sealed") this.#open.delete(stream);
    else this.#open.add(stream);
    this.#tenants.add(entry.tenant_id);
    for (const digest of envelopesIn(placed)) this.#named.add(digest);
    this.#leaves.push({ index, hash: leafHash(bytes) });
  }

  #takeEnvelopes(name: string, bytes: Buffer, at: number): void {
    this.#envelopes += 1;
    for (const line of linesOf(name, bytes, ARCHIVE)) {
      const { digest, envelope } = parseEnvelopeLine(name, line);
      const place = `${name}, ${digest}`;
      if (this.envelopeParts.has(digest)) throw ARCHIVE.fault(place, "it stands in it twice");
      if (!this.#named.has(digest)) throw ARCHIVE.fault(place, "no entry names it");
      if (sha256Hex(canonicalBytes(envelope)) !== digest) {
        throw ARCHIVE.fault(place, "it is not what its digest says");
      }
      this.envelopeParts.set(digest, { name, at });
    }
  }

  end(digest: string, size: number): ArchiveVerification {
    if (this.#manifest === null || this.#log === null || this.#list === null) {
      throw ARCHIVE.fault("its end", "a part is missing: it was never completed");
    }
    const { said, signer } = openStatement("archive", this.#manifest, this.#list, ARCHIVE);
    this.#checkCounts(said);
    const [open] = this.#open;
    if (open !== undefined) throw ARCHIVE.fault("entries/", `the run ${open} is not whole in it`);
    const { trust } = this.#options;
    if (trust !== null) requireTrusted(trust, said, signer, ARCHIVE);
    const checkpoint = this.#checkTree(this.#log, said);
    return {
      verdict: trust === null ? "UNTRUSTED_KEY" : "VALID",
      installation: said.installation_id,
      tenant: said.tenant_id,
      madeAt: said.made_at,
      before: said.before,
      digest,
      runs: said.runs,
      entries: said.entries,
      envelopes: said.envelopes,
      firstIndex: said.first_index,
      lastIndex: said.last_index,
      bytes: size,
      signer,
      checkpointSize: checkpoint.size,
    };
  }

  #checkCounts(said: ArchiveStatement): void {
    const [tenant] = this.#tenants;
    const right =
      said.entries === this.#leaves.length &&
      said.envelopes === this.envelopeParts.size &&
      said.first_index === this.#leaves[0]?.index &&
      said.last_index === this.#leaves.at(-1)?.index &&
      this.#isOfRuns(said) &&
      said.parts === this.#sums.size &&
      said.bytes === this.#bytes;
    if (!right) throw ARCHIVE.fault(MANIFEST, "what it says is not what the parts hold");
    if (this.#tenants.size !== 1 || tenant !== said.tenant_id) {
      throw ARCHIVE.fault("entries/", `they are not all of the tenant ${said.tenant_id}`);
    }
  }

  #isOfRuns({ runs, streams }: ArchiveStatement): boolean {
    return runs === this.streams.size && streams === digestOfStreams(this.streams);
  }

  #checkTree({ origin, checkpoint: note, proof }: LogPart, said: ArchiveStatement): Checkpoint {
    const expected = `sovereign/${said.installation_id}/tenant/${said.tenant_id}`;
    if (origin !== expected) throw ARCHIVE.fault(LOG, `it is of another log than ${expected}`);
    const { trust } = this.#options;
    try {
      const text = `${note.split("\n").slice(0, 3).join("\n")}\n`;
      const read = trust === null ? parseCheckpointText(text) : openTrusted(note, trust);
      if (read.origin !== origin) throw new Error("it is of another log");
      const hashes = proof.map((hash) => Buffer.from(hash, "hex"));
      verifyInclusionSet(read.root, read.size, this.#leaves, hashes);
      return read;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "unknown";
      throw ARCHIVE.fault(LOG, `the entries do not stand under its head: ${why}`, cause);
    }
  }
}

/** Whether an archive holds what a row has: by its bytes, or where they left it by its hash. */
export function isSameEntry(
  found: Uint8Array | null,
  row: { readonly hash: string; readonly bytes: Uint8Array | null },
): found is Uint8Array {
  if (found === null || sha256Hex(found) !== row.hash) return false;
  return row.bytes === null || equalBytes(row.bytes, found);
}
