import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  digestOf,
  type Envelope,
  parseEnvelope,
  SovereignError,
} from "@sovereign/core";
import { kindAt, putAside, readOwnFile, replaceOwnFile } from "../system/index.ts";
import { giveBack } from "./switch-folder.ts";

/** Far more than any order, reset or receipt has. */
const ENVELOPE_BYTES_MAX = 64 * 1024 * 1024;

/** Orders, resets and receipts by their digests, beside the journal that names them. */
export class EnvelopeStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Keep an envelope; durable when this returns its digest. */
  put(envelope: Envelope): string {
    const digest = digestOf(envelope);
    const path = this.#pathOf(digest);
    if (this.#read(digest) !== null) return digest;
    if (kindAt(this.#folder) === "folder") giveBack(this.#folder);
    else {
      putAside(this.#folder);
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    }
    replaceOwnFile(path, canonicalBytes(envelope));
    return digest;
  }

  /** @throws ERR_SCRAM_JOURNAL_INVALID when it is not there, or is another */
  get(digest: string): Envelope {
    const envelope = this.#read(digest);
    if (envelope !== null) return envelope;
    const path = this.#pathOf(digest);
    const text = `The envelope ${path} is missing or changed; the journal names it.`;
    throw new SovereignError("ERR_SCRAM_JOURNAL_INVALID", text, { path });
  }

  /** Null where it is missing, or anything else stands there. */
  #read(digest: string): Envelope | null {
    try {
      const bytes = readOwnFile(this.#pathOf(digest), ENVELOPE_BYTES_MAX);
      const envelope = bytes === null ? null : parseEnvelope(bytes);
      return envelope !== null && digestOf(envelope) === digest ? envelope : null;
    } catch {
      return null;
    }
  }

  #pathOf(digest: string): string {
    return join(this.#folder, `${digest}.json`);
  }
}
