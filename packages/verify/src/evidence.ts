import {
  type ArtifactRef,
  base64Decode,
  type ComplianceBundle,
  digestOf,
  type Envelope,
  type JsonValue,
  type KeyTable,
  type KeyWindow,
  type PlacedEntry,
  type Predicate,
  parseAnyStatement,
  parseSourceStatement,
  parseStatement,
  parseStrictJson,
  sha256Hex,
  type SourceStatement,
  type Statement,
  isSovereignError,
  SOURCE_SUMMARY_TYPE,
  SovereignError,
  STATEMENT_PAYLOAD_TYPE,
  verifyEnvelope,
} from "@sovereign/core";
import type { EntryHashes } from "./entry-hashes.ts";
import type { Events } from "./events.ts";
import { Memo } from "./memo.ts";
import { type Authority, expectSubject, type RunStatement, STATEMENT_KINDS } from "./statements.ts";
import { expectEqual, wrong } from "./step-recorder.ts";

/** How often a key signed, and how often that could be verified. */
interface Tally {
  readonly window: KeyWindow;
  readonly signatures: Set<string>;
  readonly verified: Set<string>;
}

/** A statement of ours that was opened: its signature holds, and it is about what it should be. */
export interface Opened<K extends RunStatement> {
  readonly predicate: Predicate<K>;
  readonly subject: Statement["subject"];
  readonly keyId: string;
}

/** How many signatures may be tried with keys that their hints do not name. */
const TRIES_SPARE = 10_000;
/** A try counts once more for each so many characters of the payload. */
const TRY_CHARS = 16 * 1024;

/** Which key was found to have signed an envelope, by digests, before the steps began. */
export type SignedBy = ReadonlyMap<string, string>;

export const NOTHING_CHECKED: SignedBy = new Map();

/** A bundle while it is being verified: nothing in it is believed before it was checked. */
export class Evidence {
  readonly bundle: ComplianceBundle;
  readonly hashes: EntryHashes;
  readonly events: Events;
  readonly keys: KeyTable;
  /** Keys whose signatures count for nothing, by the key log or by the trust root. */
  readonly distrusted: ReadonlySet<string>;
  /** Signatures that other threads have checked. */
  readonly #checked: SignedBy;
  readonly #tallies = new Map<string, Tally>();
  readonly #used = new Set<string>();
  /** Envelopes that have the digest by which they are named. */
  readonly #envelopes = new Memo<Envelope>();
  /** Which key signed an envelope: many entries may name it, and its signature is checked once. */
  readonly #signers = new Memo<KeyWindow>();
  /** Statements that were read, by kind and digest, and what is none. */
  readonly #statements = new Memo<unknown>();
  /** The first artifact of each name, and what is in it. */
  readonly #held: ReadonlyMap<string, ComplianceBundle["artifacts"][number]>;
  readonly #contents = new Memo<{ readonly sha256: string; readonly value: JsonValue }>();
  /** Without a bound, envelopes with wrong hints would cost their number times that of the keys. */
  #tries: number;

  constructor(
    bundle: ComplianceBundle,
    read: { readonly hashes: EntryHashes; readonly events: Events },
    keys: KeyTable,
    distrusted: ReadonlySet<string>,
    checked: SignedBy = NOTHING_CHECKED,
  ) {
    this.bundle = bundle;
    this.#checked = checked;
    this.hashes = read.hashes;
    this.events = read.events;
    this.keys = keys;
    this.distrusted = distrusted;
    // Each is by one key, which its hint names.
    const all = Object.values(bundle.envelopes).map(triesOf);
    this.#tries = TRIES_SPARE + 4 * all.reduce((sum, one) => sum + one, 0);
    const artifacts = [...bundle.artifacts].reverse();
    this.#held = new Map(artifacts.map((one) => [one.name, one]));
  }

  get tallies(): readonly Tally[] {
    return [...this.#tallies.values()];
  }

  get usedEnvelopes(): ReadonlySet<string> {
    return this.#used;
  }

  /** An envelope by its digest. @throws ERR_VERIFY_INVALID when it is missing or another one */
  envelope(digest: string): Envelope {
    const envelope = this.#envelopes.get(digest, () => envelopeIn(this.bundle, digest));
    this.#used.add(digest);
    return envelope;
  }

  /** Read a JSON artifact where the bundle holds its bytes; their digest is the artifact's. */
  withContent(file: ArtifactRef, read: (value: JsonValue) => void): void {
    const content = this.#held.get(file.name)?.content;
    if (content === undefined) return;
    const found = this.#contents.get(file.name, () => {
      const bytes = base64Decode(content);
      return { sha256: sha256Hex(bytes), value: parseStrictJson(bytes) };
    });
    expectEqual(found.sha256, file.sha256, `The digest of ${file.name}`);
    read(found.value);
  }

  /** Open one of our statements, signed by a key that might sign it there and then. */
  open<K extends RunStatement>(digest: string, kind: K, entry: PlacedEntry): Opened<K> {
    const tally = this.#signed(digest);
    const { predicate, subject } = this.#read(digest, kind, (body) => parseStatement(body, kind));
    const { authority, subject: about } = STATEMENT_KINDS[kind] as unknown as {
      authority: (predicate: Predicate<K>) => Authority;
      subject: (
        predicate: Predicate<K>,
        entry: PlacedEntry,
      ) => { name: string | null; sha256: string };
    };
    this.#mayHaveSigned(tally.window, authority(predicate), entry);
    expectSubject(subject, about(predicate, entry));
    tally.verified.add(digest);
    return { predicate, subject, keyId: tally.window.record.key_id };
  }

  /** What a signed envelope holds, read once: many entries may name a long one. */
  #read<T>(digest: string, kind: string, read: (body: Uint8Array) => T): T {
    const made = (): T => read(base64Decode(this.envelope(digest).payload));
    return this.#statements.get(`${kind} ${digest}`, made) as T;
  }

  /** @throws ERR_VERIFY_UNTRUSTED where a distrusted key signed an envelope that was opened */
  expectTrusted(digest: string): void {
    const keyId = this.#signers.known(digest)?.record.key_id;
    if (keyId !== undefined && this.distrusted.has(keyId)) throw untrusted(keyId);
  }

  /** Open a statement of a public predicate type. */
  openAny(digest: string, type: string, entry: PlacedEntry, authority: Authority): Statement {
    const read = (body: Uint8Array): Statement => {
      const statement = parseAnyStatement(body);
      expectEqual(statement.predicateType, type, "The predicate type");
      return statement;
    };
    return this.#openBy(digest, type, read, { entry, authority });
  }

  /** Open a statement about a commit. */
  openSource(digest: string, entry: PlacedEntry, authority: Authority): SourceStatement {
    const by = { entry, authority };
    return this.#openBy(digest, SOURCE_SUMMARY_TYPE, parseSourceStatement, by);
  }

  #openBy<T>(
    digest: string,
    type: string,
    read: (body: Uint8Array) => T,
    by: { readonly entry: PlacedEntry; readonly authority: Authority },
  ): T {
    const tally = this.#signed(digest);
    const statement = this.#read(digest, type, read);
    this.#mayHaveSigned(tally.window, by.authority, by.entry);
    tally.verified.add(digest);
    return statement;
  }

  #signed(digest: string): Tally {
    const envelope = this.envelope(digest);
    return this.#tally(
      this.#signers.get(digest, () => this.#signerOf(envelope, digest)),
      digest,
    );
  }

  /** `keyid` is a hint for where to look first; the signature decides which key it was. */
  #signerOf(envelope: Envelope, digest: string): KeyWindow {
    checkEnvelope(envelope);
    for (const window of this.#candidates(envelope)) {
      this.#tries -= triesOf(envelope);
      if (this.#tries < 0) throw wrong("Too many signatures whose keyid is not their key.");
      const found = this.#checked.get(digest) === window.record.key_id;
      if (found || isSignedBy(envelope, window)) return window;
    }
    throw new SovereignError(
      "ERR_ENVELOPE_SIGNATURE",
      `No key of the key log made the signature of the envelope ${digest}.`,
    );
  }

  /** The key that the hint names, and all keys only when that one did not do it. */
  *#candidates({ signatures }: Envelope): Generator<KeyWindow> {
    const hinted = this.keys.get(signatures[0]?.keyid ?? "");
    if (hinted !== undefined) yield hinted;
    yield* this.keys.each();
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
    // Distrust is told by step 3. All else is judged as if the key were trusted, so that evidence
    // of a distrusted key is not called wrong where it is not, nor untrusted where it is wrong.
    const trusted = { ...window, distrustAll: false };
    const refusal = this.keys.refusal(trusted, epochOf(entry), entry.entry.timestamp);
    if (refusal !== null) {
      throw wrong(`Key ${record.key_id} was not valid at this place of the log: ${refusal}.`);
    }
  }
}

/** An envelope of a bundle by its digest. @throws ERR_VERIFY_INVALID */
export function envelopeIn(bundle: ComplianceBundle, digest: string): Envelope {
  const envelope = Object.hasOwn(bundle.envelopes, digest) ? bundle.envelopes[digest] : undefined;
  if (envelope === undefined) throw wrong(`The envelope ${digest} is missing.`);
  if (digestOf(envelope) !== digest) throw wrong(`The envelope ${digest} has another digest.`);
  return envelope;
}

/** In a bundle each envelope is a statement by one key, and nothing stands beside its signature. */
export function checkEnvelope({ payloadType, signatures }: Envelope): void {
  expectEqual(payloadType, STATEMENT_PAYLOAD_TYPE, "The payload type");
  expectEqual(signatures.length, 1, "The number of signatures");
}

/** Nothing that a distrusted key signed counts, and nothing that it introduced. */
export function untrusted(keyId: string): SovereignError {
  return new SovereignError(
    "ERR_VERIFY_UNTRUSTED",
    `Key ${keyId} is distrusted, or was introduced by a key that is: nothing that it signed counts.`,
  );
}

/** The count of the key log when the entry's signatures were made. */
export function epochOf(entry: PlacedEntry): number {
  const { key_epoch: epoch } = entry.entry.data;
  if (typeof epoch === "number" && Number.isSafeInteger(epoch) && epoch >= 0) return epoch;
  throw wrong(`${entry.entry.event_type} names signatures, but no key epoch.`);
}

function isSignedBy(envelope: Envelope, window: KeyWindow): boolean {
  try {
    verifyEnvelope(envelope, [window.key]);
    return true;
  } catch (error) {
    if (isSovereignError(error, "ERR_ENVELOPE_SIGNATURE")) return false;
    throw error;
  }
}

/** A long one takes longer to try. */
function triesOf({ payload }: Envelope): number {
  return 1 + Math.floor(payload.length / TRY_CHARS);
}
