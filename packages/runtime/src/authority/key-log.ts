import {
  type Envelope,
  KeyLogReplay,
  type KeyEvent,
  type KeyLogHead,
  type KeyPurpose,
  type KeyRecord,
  type KeyTable,
  GENESIS_HASH,
  predicateType,
  SovereignError,
  type TrustRoot,
} from "@sovereign/core";
import { signStatement } from "./authority.ts";
import type { Keystore } from "./keystore.ts";

/** One entry of the stream `keys`, as the ledger holds it. */
export interface KeyLogEntry {
  readonly eventType: string;
  readonly timestamp: string;
  readonly hash: string;
  readonly envelope: Envelope;
}

/** The stream `keys` of the installation's log; the ledger implements it. */
export interface KeyLogStore {
  /** Entries from a sequence number on, in order. */
  read(from: number): Promise<KeyLogEntry[]>;
  /**
   * Append at exactly this sequence number.
   * @throws ERR_STREAM_CONFLICT when another process was first
   */
  append(sequence: number, eventType: string, envelope: Envelope): Promise<void>;
}

/** A role or an approver that gets a key of its own, or one of the installation's purposes. */
export interface KeySlot {
  readonly purpose: KeyPurpose;
  readonly role: string | null;
  /** Until when it is good; null or absent for no end. */
  readonly notAfter?: string | null;
}

/** The keys that every installation has. One key for one purpose and role. */
export const INSTALLATION_KEYS: readonly KeySlot[] = [
  { purpose: "root", role: null },
  { purpose: "checkpoint", role: null },
  { purpose: "config", role: null },
  { purpose: "binding", role: null },
  { purpose: "seal", role: null },
  { purpose: "attestation", role: null },
  { purpose: "sentinel", role: null },
];

/**
 * The installation's key log: introduces, rotates and revokes keys, each as a statement signed by
 * the root key and appended to the ledger before it has effect.
 */
export class KeyLog {
  readonly #store: KeyLogStore;
  readonly #installationId: string;
  readonly #clock: { now(): Date };
  readonly #replay: KeyLogReplay;
  readonly #hashes: string[] = [];
  readonly #events: KeyLogEntry[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: KeyLogStore, installationId: string, clock: { now(): Date }) {
    this.#store = store;
    this.#installationId = installationId;
    this.#clock = clock;
    this.#replay = new KeyLogReplay(installationId);
  }

  /** The keys as last read. */
  current(): KeyTable {
    return this.#replay.table;
  }

  /** All events as last read: whoever has them needs no ledger to know the keys. */
  get events(): readonly KeyLogEntry[] {
    return this.#events;
  }

  /** Count and last hash of the log as last read: what a run's evidence names. */
  head(): KeyLogHead {
    return { count: this.#hashes.length, head: this.#hashes.at(-1) ?? GENESIS_HASH };
  }

  /** Read what was appended since, verifying every event. One after another, whoever asks. */
  refresh(): Promise<KeyTable> {
    const next = this.#last.then(() => this.#read());
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #read(): Promise<KeyTable> {
    for (const entry of await this.#store.read(this.#hashes.length)) {
      this.#replay.apply(entry.envelope, entry.eventType, entry.timestamp);
      this.#hashes.push(entry.hash);
      this.#events.push(entry);
    }
    return this.#replay.table;
  }

  /**
   * Make the keys of a new installation: the root first, which introduces the others.
   *
   * @throws ERR_KEYS_EXIST when the log is not empty
   */
  async initialise(keystore: Keystore, slots: readonly KeySlot[]): Promise<KeyRecord[]> {
    await this.refresh();
    if (this.#hashes.length > 0) {
      throw new SovereignError("ERR_KEYS_EXIST", "This installation has keys already.");
    }
    const made: KeyRecord[] = [];
    for (const slot of slots) made.push(await this.introduce(keystore, slot));
    return made;
  }

  /** Make a key for a purpose (and role) and enrol it. */
  async introduce(keystore: Keystore, slot: KeySlot): Promise<KeyRecord> {
    const key = await keystore.create(slot.purpose, slot.role, {
      ...this.#window(),
      notAfter: slot.notAfter ?? null,
    });
    await this.#append(keystore, { event: "introduced", key, replaces: null, reason: null });
    return key;
  }

  /** Make a new key in the place of an old one, which ends here. */
  async rotate(keystore: Keystore, keyId: string, reason: string): Promise<KeyRecord> {
    const { purpose, role } = this.#find(keyId);
    const key = await keystore.create(purpose, role, this.#window());
    await this.#append(keystore, { event: "rotated", key, replaces: keyId, reason });
    return key;
  }

  /**
   * Withdraw a key. With `distrustAll`, nothing that it ever signed is believed any more.
   */
  async revoke(
    keystore: Keystore,
    keyId: string,
    reason: string,
    distrustAll: boolean,
  ): Promise<void> {
    const key = this.#find(keyId);
    const event = { event: "revoked", key, replaces: null, reason } as const;
    await this.#append(keystore, event, distrustAll);
  }

  /** What an auditor pins. */
  trustRoot(): TrustRoot {
    const keys = this.#replay.table.windows.map((window) => ({
      ...window.record,
      introduced: window.introduced,
      ended: window.ended,
      ended_by: window.endedBy,
      distrust_all: window.distrustAll,
    }));
    return {
      format: "sovereign.trust-root",
      schema_version: "1.0.0",
      installation_id: this.#installationId,
      exported_at: this.#clock.now().toISOString(),
      root_keys: keys
        .filter((key) => key.purpose === "root")
        .map(({ key_id, public_key }) => ({ key_id, public_key })),
      key_log: { count: this.#hashes.length, hashes: [...this.#hashes] },
      keys,
    };
  }

  #window(): { notBefore: string; notAfter: null } {
    return { notBefore: this.#clock.now().toISOString(), notAfter: null };
  }

  #find(keyId: string): KeyRecord {
    const window = this.#replay.table.get(keyId);
    if (window === undefined) {
      throw new SovereignError("ERR_KEY_NOT_FOUND", `No key ${keyId} is enrolled.`, { keyId });
    }
    return window.record;
  }

  async #append(
    keystore: Keystore,
    event: Pick<KeyEvent, "event" | "key" | "replaces" | "reason">,
    distrustAll = false,
  ): Promise<void> {
    const sequence = this.#hashes.length;
    const predicate: KeyEvent = {
      installation_id: this.#installationId,
      sequence,
      ...event,
      distrust_all: distrustAll,
      issued_at: this.#clock.now().toISOString(),
    };
    const rootId = sequence === 0 ? event.key.key_id : this.#rootKeyId();
    const envelope = signStatement(
      [{ name: `key:${event.key.purpose}`, sha256: event.key.key_id }],
      predicateType("key-event"),
      predicate,
      await keystore.signer(rootId),
    );
    await this.#store.append(sequence, `key.${event.event}`, envelope);
    await this.refresh();
  }

  #rootKeyId(): string {
    const { table } = this.#replay;
    const root = table.valid("root", null, table.count, this.#clock.now().toISOString()).at(-1);
    if (root === undefined) {
      throw new SovereignError(
        "ERR_KEYS_MISSING",
        "No root key is valid: run sovereign keys init.",
      );
    }
    return root.record.key_id;
  }
}
