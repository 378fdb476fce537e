import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  digestOf,
  type Envelope,
  parseEnvelope,
  SovereignError,
} from "@sovereign/core";

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
    if (existsSync(path)) return digest;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const temporary = `${path}.new`;
    const file = openSync(temporary, "w", 0o600);
    try {
      writeSync(file, canonicalBytes(envelope));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    return digest;
  }

  /** @throws ERR_SCRAM_JOURNAL_INVALID when it is not there, or is another */
  get(digest: string): Envelope {
    const path = this.#pathOf(digest);
    if (existsSync(path)) {
      const envelope = parseEnvelope(readFileSync(path));
      if (digestOf(envelope) === digest) return envelope;
    }
    const text = `The envelope ${path} is missing or changed; the journal names it.`;
    throw new SovereignError("ERR_SCRAM_JOURNAL_INVALID", text, { path });
  }

  #pathOf(digest: string): string {
    return join(this.#folder, `${digest}.json`);
  }
}
