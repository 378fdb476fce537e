import { canonicalBytes, fixClass } from "@sovereign/core";
import type { ArchivedBytes, StreamHead } from "../../ledger/index.ts";
import { linesOf } from "../backup/parts.ts";
import { readPart } from "../backup/tar.ts";
import { ARCHIVE } from "./archive-error.ts";
import { envelopesIn, parseEntryLine, parseEnvelopeLine } from "./archive-parts.ts";
import type { ArchiveVerification } from "./archive-reports.ts";

/** Where a part begins in the file. */
export interface ArchivePart {
  readonly name: string;
  readonly at: number;
}

/** A part of entries, with the indices of its first and last. */
export interface EntriesPart extends ArchivePart {
  readonly first: number;
  readonly last: number;
}

/** An entry of an archive, and the envelopes that it names. */
export interface ArchivedEntry {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly names: readonly string[];
}

interface Contents {
  readonly report: ArchiveVerification;
  readonly streams: ReadonlyMap<string, StreamHead>;
  readonly entryParts: readonly EntriesPart[];
  /** In which part each envelope is. */
  readonly envelopeParts: ReadonlyMap<string, ArchivePart>;
}

/** How many parts are kept unpacked: readers go through them in order. */
const KEPT = 2;

/**
 * An archive that was read and found whole. The file stays where it is, and may change: whoever takes bytes
 * of it holds them against the ledger's hashes.
 */
export class ArchiveFile implements ArchivedBytes {
  readonly #path: string;
  readonly report: ArchiveVerification;
  readonly streams: ReadonlyMap<string, StreamHead>;
  readonly #entries: Unpacked<number>;
  readonly #envelopes: Unpacked<string>;
  readonly #entryParts: readonly EntriesPart[];
  readonly #envelopeParts: ReadonlyMap<string, ArchivePart>;

  constructor(path: string, { report, streams, entryParts, envelopeParts }: Contents) {
    this.#path = path;
    this.report = report;
    this.streams = streams;
    this.#entryParts = entryParts;
    this.#envelopeParts = envelopeParts;
    this.#entries = new Unpacked(path, (name, line) => {
      const { index, entry } = parseEntryLine(name, line);
      return [index, canonicalBytes(entry)];
    });
    this.#envelopes = new Unpacked(path, (name, line) => {
      const { digest, envelope } = parseEnvelopeLine(name, line);
      return [digest, canonicalBytes(envelope)];
    });
    Object.freeze(this);
  }

  entry(log: string, index: number): Uint8Array | null {
    if (log !== this.report.tenant) return null;
    const part = this.#entryParts.find(({ first, last }) => first <= index && index <= last);
    return part === undefined ? null : this.#entries.get(part, index);
  }

  envelope(log: string, digest: string): Uint8Array | null {
    const part = log === this.report.tenant ? this.#envelopeParts.get(digest) : undefined;
    return part === undefined ? null : this.#envelopes.get(part, digest);
  }

  hasEnvelope(digest: string): boolean {
    return this.#envelopeParts.has(digest);
  }

  /** All entries in the order of the log. */
  *entries(): Generator<ArchivedEntry> {
    for (const part of this.#entryParts) {
      for (const line of linesOf(part.name, readPart(this.#path, part, ARCHIVE), ARCHIVE)) {
        const placed = parseEntryLine(part.name, line);
        const { index, entry } = placed;
        yield { index, bytes: canonicalBytes(entry), names: envelopesIn(placed) };
      }
    }
  }
}

fixClass(ArchiveFile);

/** Looks things up in parts, which it keeps unpacked for a while. */
class Unpacked<K extends number | string> {
  readonly #path: string;
  readonly #parse: (name: string, line: string) => readonly [K, Uint8Array];
  readonly #kept = new Map<string, ReadonlyMap<K, Uint8Array>>();

  constructor(path: string, parse: (name: string, line: string) => readonly [K, Uint8Array]) {
    this.#path = path;
    this.#parse = parse;
  }

  get(part: ArchivePart, key: K): Uint8Array | null {
    const known = this.#kept.get(part.name) ?? this.#unpack(part);
    return known.get(key) ?? null;
  }

  #unpack(part: ArchivePart): ReadonlyMap<K, Uint8Array> {
    const lines = linesOf(part.name, readPart(this.#path, part, ARCHIVE), ARCHIVE);
    const made = new Map(lines.map((line) => this.#parse(part.name, line)));
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= KEPT && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(part.name, made);
    return made;
  }
}
