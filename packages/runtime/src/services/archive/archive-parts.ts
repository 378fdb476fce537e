import {
  fields,
  formats,
  parseCanonicalJson,
  parseFormat,
  type PlacedEntry,
  sha256Hex,
} from "@sovereign/core";
import { z } from "zod";
import type { StreamHead } from "../../ledger/index.ts";
import { numbered } from "../backup/parts.ts";
import { ARCHIVE } from "./archive-error.ts";

export const LOG = "log.json";
export const entriesPart = (number: number): string => `entries/${numbered(number, "jsonl.gz")}`;
export const envelopesPart = (number: number): string =>
  `envelopes/${numbered(number, "jsonl.gz")}`;

/** More entries, or runs, go into another archive: so memory is bounded. */
export const ENTRIES_MAX = 200_000;
export const RUNS_MAX = 10_000;
const PROOF_MAX = 1_000_000;

/** The head of the log under which all entries stand, and the proof that they do. */
const logPart = z.strictObject({
  origin: z.string().max(400),
  checkpoint: z.string().max(4096),
  proof: z.array(fields.digest).max(PROOF_MAX),
});
export type LogPart = z.infer<typeof logPart>;

const envelopeLine = z.strictObject({ digest: fields.digest, envelope: formats.metadata });
export type EnvelopeLine = z.infer<typeof envelopeLine>;

/** A line of entries, as an exported log has it. */
export function parseEntryLine(part: string, line: string): PlacedEntry {
  return parsed(part, Buffer.from(line), formats.placedEntry);
}

export function parseEnvelopeLine(part: string, line: string): EnvelopeLine {
  return parsed(part, Buffer.from(line), envelopeLine);
}

export function parseLogPart(bytes: Uint8Array): LogPart {
  return parsed(LOG, bytes, logPart);
}

function parsed<T extends z.ZodType>(part: string, bytes: Uint8Array, format: T): z.infer<T> {
  try {
    return parseFormat(format, parseCanonicalJson(bytes, { bytesMax: bytes.length }), part);
  } catch (cause) {
    throw ARCHIVE.fault(part, cause instanceof Error ? cause.message : "unreadable", cause);
  }
}

/** What a record names the runs of an archive by. @see docs/spec/ledger.md "Archives" */
export function digestOfStreams(streams: ReadonlyMap<string, StreamHead>): string {
  const lines = [...streams].map(([stream, { count, hash }]) => `${stream} ${count} ${hash}\n`);
  return sha256Hex(Buffer.from(lines.sort().join("")));
}

/** The digests of envelopes that an entry names. */
export function envelopesIn({ entry }: Pick<PlacedEntry, "entry">): string[] {
  const { envelopes } = entry.data;
  if (typeof envelopes !== "object" || envelopes === null) return [];
  return Object.values(envelopes).filter((one): one is string => typeof one === "string");
}
