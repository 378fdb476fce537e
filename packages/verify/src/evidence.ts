import {
  type ComplianceBundle,
  digestOf,
  type EntryData,
  type Envelope,
  entryData,
  type KeyPurpose,
  type KeyTable,
  type KeyWindow,
  type PlacedEntry,
  type Predicate,
  type PredicateName,
  parseAnyStatement,
  parseFormat,
  parseStatement,
  type Statement,
  SovereignError,
  verifyEnvelope,
} from "@sovereign/core";
import type { EntryHashes } from "./entry-hashes.ts";
import { wrong } from "./step-recorder.ts";

/** How often a key signed, and how often that could be verified. */
interface Tally {
  readonly window: KeyWindow;
  readonly signatures: Set<string>;
  readonly verified: Set<string>;
}

/** Who must have signed a statement. */
export interface Authority {
  readonly purpose: KeyPurpose;
  readonly role: string | null;
}

/** How many signatures may be tried with keys that their hints do not name. */
const TRIES_SPARE = 10_000;

/** A bundle while it is being verified: nothing in it is believed before it was checked. */
export class Evidence {
  readonly bundle: ComplianceBundle;
  readonly hashes: EntryHashes;
  readonly keys: KeyTable;
  /** Keys that the trust root calls distrusted by now. */
  readonly distrusted: ReadonlySet<string>;
  readonly #tallies = new Map<string, Tally>();
  readonly #used = new Set<string>();
  /** Without a bound, envelopes with wrong hints would cost their number times that of the keys. */
  #tries: number;

  constructor(
    bundle: ComplianceBundle,
    hashes: EntryHashes,
    keys: KeyTable,
    distrusted: ReadonlySet<string>,
  ) {
    this.bundle = bundle;
    this.hashes = hashes;
    this.keys = keys;
    this.distrusted = distrusted;
    // Each is opened by two steps, and is by one key, which its hint names.
    this.#tries = TRIES_SPARE + 8 * Object.keys(bundle.envelopes).length;
  }

  get tallies(): readonly Tally[] {
    return [...this.#tallies.values()];
  }

  get usedEnvelopes(): ReadonlySet<string> {
    return this.#used;
  }

  /** The typed data of an entry. @throws ERR_VERIFY_INVALID */
  data<K extends keyof typeof entryData>(entry: PlacedEntry, event: K): EntryData<K> {
    const { event_type: found, data } = entry.entry;
    if (found !== event) throw wrong(`Expected ${event}, found ${found}.`);
    return parseFormat(entryData[event], data, event, "ERR_VERIFY_INVALID") as EntryData<K>;
  }

  /** An envelope by its digest. @throws ERR_VERIFY_INVALID when it is missing or another one */
  envelope(digest: string): Envelope {
    const envelope = Object.hasOwn(this.bundle.envelopes, digest)
      ? this.bundle.envelopes[digest]
      : undefined;
    if (envelope === undefined) throw wrong(`The envelope ${digest} is missing.`);
    if (digestOf(envelope) !== digest) throw wrong(`The envelope ${digest} has another digest.`);
    this.#used.add(digest);
    return envelope;
  }

  /** Open one of our statements, signed by a key that might sign it there and then. */
  open<K extends PredicateName>(
    digest: string,
    kind: K,
    entry: PlacedEntry,
    authorityOf: (predicate: Predicate<K>) => Authority,
  ): { predicate: Predicate<K>; subject: Statement["subject"]; keyId: string } {
    const { body, tally } = this.#signed(digest);
    const { predicate, subject } = parseStatement(body, kind);
    this.#mayHaveSigned(tally.window, authorityOf(predicate), entry);
    tally.verified.add(digest);
    return { predicate, subject, keyId: tally.window.record.key_id };
  }

  /** Open a statement of a public predicate type. */
  openAny(digest: string, type: string, entry: PlacedEntry, authority: Authority): Statement {
    const { body, tally } = this.#signed(digest);
    const statement = parseAnyStatement(body);
    if (statement.predicateType !== type) {
      throw wrong(`Expected the predicate type ${type}, found ${statement.predicateType}.`);
    }
    this.#mayHaveSigned(tally.window, authority, entry);
    tally.verified.add(digest);
    return statement;
  }

  /** `keyid` is a hint for where to look first; the signature decides which key it was. */
  #signed(digest: string): { body: Uint8Array; tally: Tally } {
    const envelope = this.envelope(digest);
    for (const window of this.#candidates(envelope)) {
      this.#tries -= envelope.signatures.length;
      if (this.#tries < 0) throw wrong("Too many signatures whose keyid is not their key.");
      const body = bodyIfSigned(envelope, window);
      if (body !== null) return { body, tally: this.#tally(window, digest) };
    }
    throw new SovereignError(
      "ERR_ENVELOPE_SIGNATURE",
      `No key of the key log made the signature of the envelope ${digest}.`,
    );
  }

  /** The keys that the hints name, and all keys only when none of those did it. */
  *#candidates({ signatures }: Envelope): Generator<KeyWindow> {
    for (const keyid of new Set(signatures.map((one) => one.keyid))) {
      const window = this.keys.get(keyid);
      if (window !== undefined) yield window;
    }
    yield* this.keys.windows;
  }

  /** Later steps open the same envelopes again: each is counted once. */
  #tally(window: KeyWindow, digest: string): Tally {
    const { key_id } = window.record;
    const fresh = { window, signatures: new Set<string>(), verified: new Set<string>() };
    const tally = this.#tallies.get(key_id) ?? fresh;
    this.#tallies.set(key_id, tally);
    tally.signatures.add(digest);
    return tally;
  }

  #mayHaveSigned(window: KeyWindow, authority: Authority, entry: PlacedEntry): void {
    const { record } = window;
    if (record.purpose !== authority.purpose || record.role !== authority.role) {
      const expected = [authority.purpose, authority.role ?? ""].join(" ").trim();
      const found = [record.purpose, record.role ?? ""].join(" ").trim();
      throw wrong(`Signed by the key of ${found}; expected the key of ${expected}.`);
    }
    if (this.distrusted.has(record.key_id)) {
      throw new SovereignError(
        "ERR_VERIFY_UNTRUSTED",
        `Key ${record.key_id} was revoked with distrust of all that it signed.`,
      );
    }
    const refusal = this.keys.refusal(window, epochOf(entry), entry.entry.timestamp);
    if (refusal !== null) {
      throw wrong(`Key ${record.key_id} was not valid at this place of the log: ${refusal}.`);
    }
  }
}

/** The count of the key log when the entry's signatures were made. */
export function epochOf(entry: PlacedEntry): number {
  const { key_epoch: epoch } = entry.entry.data;
  if (typeof epoch === "number" && Number.isSafeInteger(epoch) && epoch >= 0) return epoch;
  throw wrong(`${entry.entry.event_type} names signatures, but no key epoch.`);
}

function bodyIfSigned(envelope: Envelope, window: KeyWindow): Uint8Array | null {
  try {
    return verifyEnvelope(envelope, [window.key]).body;
  } catch (error) {
    if (error instanceof SovereignError && error.code === "ERR_ENVELOPE_SIGNATURE") return null;
    throw error;
  }
}
