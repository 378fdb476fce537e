import {
  deepFreeze,
  type Envelope,
  type ErrorCode,
  KeyLogReplay,
  type KeyEvent,
  type KeyLogHead,
  type KeyRecord,
  KeyTable,
  type KeyWindow,
  GENESIS_HASH,
  predicateType,
  type Signer,
  SovereignError,
  type TrustRoot,
  fixClass,
} from "@sovereign/core";
import { signStatement } from "./authority.ts";
import { refuseOneHolder } from "./holders.ts";
import { Keystore, refuseName } from "./keystore.ts";
import { isOfSlot, type KeySlot, refuseSecond, slotText } from "./slot.ts";
import { Turns } from "../system/index.ts";

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
   * Append all of them at exactly this sequence number.
   * @returns false when another process was first: then none was appended
   */
  append(sequence: number, events: readonly NewKeyEvent[]): Promise<boolean>;
}

/** What is to be appended: the event's type as the ledger names it, and the signed statement. */
export interface NewKeyEvent {
  readonly eventType: string;
  readonly envelope: Envelope;
}

/** What an event says; the rest of it depends on its place in the log. */
type Change = Pick<KeyEvent, "event" | "key" | "replaces" | "reason" | "distrust_all">;

/** What else may be in force beside the keys of a change. */
interface Beside {
  /** A second key of the same purpose and name, on purpose. A spare root key needs no leave. */
  readonly another?: boolean;
}

/** After these it is known that nothing was appended. */
const REFUSALS: readonly ErrorCode[] = [
  "ERR_STREAM_CONFLICT",
  "ERR_KEY_LOG_INVALID",
  "ERR_KEY_OVERTAKEN",
  "ERR_KEY_HOLDER",
  "ERR_KEY_IN_FORCE",
  "ERR_KEY_NOT_FOUND",
  "ERR_KEYS_MISSING",
];

/** How often a change is tried again that another process was quicker than. */
const ATTEMPTS = 20;

/** How much of a key's id names it. */
const PREFIX_MIN = 8;

/** The keys that every installation has. One key for one purpose and role. */
export const INSTALLATION_KEYS: readonly KeySlot[] = deepFreeze<KeySlot[]>([
  { purpose: "root", role: null },
  { purpose: "checkpoint", role: null },
  { purpose: "config", role: null },
  { purpose: "binding", role: null },
  { purpose: "seal", role: null },
  { purpose: "attestation", role: null },
  { purpose: "sentinel", role: null },
]);

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
  #current = new KeyTable().seal();
  readonly #turns = new Turns();

  constructor(store: KeyLogStore, installationId: string, clock: { now(): Date }) {
    // Taken once, here: what a program does with its objects later shortens no log.
    this.#store = { read: store.read.bind(store), append: store.append.bind(store) };
    this.#installationId = installationId;
    this.#clock = { now: clock.now.bind(clock) };
    this.#replay = new KeyLogReplay(installationId);
    Object.freeze(this);
  }

  /** The keys as last read. */
  current(): KeyTable {
    // A copy, made once for each state of the log: nobody who holds it can enrol a key in it.
    const { table } = this.#replay;
    if (this.#current.count !== table.count) this.#current = table.copy().seal();
    return this.#current;
  }

  /** All events as last read: whoever has them needs no ledger to know the keys. */
  get events(): readonly KeyLogEntry[] {
    return [...this.#events];
  }

  /** Count and last hash of the log as last read: what a run's evidence names. */
  head(): KeyLogHead {
    return { count: this.#hashes.length, head: this.#hashes.at(-1) ?? GENESIS_HASH };
  }

  /** Read what was appended since, verifying every event. One after another, whoever asks. */
  refresh(): Promise<KeyTable> {
    return this.#turns.take(() => this.#read());
  }

  async #read(): Promise<KeyTable> {
    for (const found of await this.#store.read(this.#hashes.length)) {
      const entry = deepFreeze({ ...found });
      this.#replay.apply(entry.envelope, entry.eventType, entry.timestamp);
      this.#hashes.push(entry.hash);
      this.#events.push(entry);
    }
    return this.current();
  }

  /**
   * Make the keys of a new installation, all of them or none: the root first, which introduces the
   * others.
   *
   * @throws ERR_KEYS_EXIST when the log is not empty
   */
  async initialise(keystore: Keystore, asked: readonly KeySlot[]): Promise<KeyRecord[]> {
    const slots = asked.map(ownSlot);
    await this.refresh();
    if (this.#hashes.length > 0) throw keysExist();
    refuseSecond([], slots);
    const made = await this.#createAll(keystore, slots);
    try {
      await this.#append(keystore, made.map(introduction), 1);
    } catch (error) {
      if (!isCoded(error, "ERR_STREAM_CONFLICT")) throw error;
      await this.refresh();
      throw keysExist();
    }
    return made;
  }

  /**
   * A new installation gets its keys at its first work; an existing one is never widened silently.
   */
  async ensure(keystore: Keystore, slots: readonly KeySlot[]): Promise<void> {
    if (this.#hashes.length > 0) return;
    try {
      await this.initialise(keystore, slots);
    } catch (error) {
      // Others began at the same time, and were first.
      if (!isCoded(error, "ERR_KEYS_EXIST")) throw error;
    }
  }

  /** Make a key for a purpose (and role) and enrol it. */
  async introduce(keystore: Keystore, slot: KeySlot, beside: Beside = {}): Promise<KeyRecord> {
    const [key] = await this.introduceAll(keystore, [slot], beside);
    if (key === undefined) throw new Error("unreachable: one slot makes one key");
    return key;
  }

  /**
   * The same for several: all of them or none.
   * @throws ERR_KEY_NAME before anything is written
   * @throws ERR_KEY_IN_FORCE where one has a key that is in force, and no other was asked for
   */
  async introduceAll(
    keystore: Keystore,
    asked: readonly KeySlot[],
    beside: Beside = {},
  ): Promise<KeyRecord[]> {
    const slots = asked.map(ownSlot);
    if (beside.another !== true) refuseSecond(this.#holders(), slots);
    const made = await this.#createAll(keystore, slots);
    await this.#append(keystore, made.map(introduction), ATTEMPTS, beside);
    return made;
  }

  /**
   * Make a new key in the place of an old one, which ends here.
   *
   * @param reference the key's id, or enough of its beginning
   * @throws ERR_KEY_NOT_FOUND, ERR_KEY_ENDED
   */
  async rotate(keystore: Keystore, reference: string, reason: string): Promise<KeyRecord> {
    const { record, ended } = this.#find(reference);
    if (ended !== null) throw hasEnded(record);
    const { purpose, role, key_id: replaces } = record;
    const key = await this.#create(keystore, { purpose, role });
    await this.#append(keystore, [
      { event: "rotated", key, replaces, reason, distrust_all: false },
    ]);
    return key;
  }

  /**
   * Make a key that takes the place of all others of its purpose (and role): after a loss, a
   * revocation or an expiry. What those signed before stays good.
   *
   * @throws ERR_KEY_NOT_FOUND for a role or a person who never had one
   */
  async replace(keystore: Keystore, asked: KeySlot, reason: string): Promise<KeyRecord> {
    const slot = ownSlot(asked);
    const windows = this.#replay.table.windows.filter((window) => isOfSlot(window, slot));
    if (windows.length === 0 && slot.role !== null) throw neverEnrolled(slot);
    const [made] = await this.#createAll(keystore, [slot]);
    if (made === undefined) throw new Error("unreachable: one slot makes one key");
    const here = new Set((await keystore.records()).map(({ key_id }) => key_id));
    const unended = windows.filter(({ ended }) => ended === null).map(({ record }) => record);
    // A root key that is here signs until the last of these, and ends with it.
    const last = unended.findLast(({ key_id }) => here.has(key_id)) ?? unended.at(-1);
    const changes: Change[] = unended
      .filter((key) => key !== last)
      .map((key) => ({ event: "revoked", key, replaces: null, reason, distrust_all: false }));
    const replaces = last?.key_id ?? null;
    const event = replaces === null ? "introduced" : "rotated";
    changes.push({ event, key: made, replaces, reason, distrust_all: false });
    await this.#append(keystore, changes);
    return made;
  }

  /**
   * Withdraw a key. With `distrustAll`, nothing that it ever signed is believed any more; that may
   * also be said of a key that has ended. The only root key can not be withdrawn, for nobody could
   * enrol another: it is rotated.
   *
   * @param reference the key's id, or enough of its beginning
   * @throws ERR_KEY_NOT_FOUND, ERR_KEY_ENDED, ERR_KEY_LAST_ROOT
   */
  async revoke(
    keystore: Keystore,
    reference: string,
    reason: string,
    distrustAll: boolean,
  ): Promise<KeyRecord> {
    const { record: key, ended } = this.#find(reference);
    if (ended !== null && !distrustAll) throw hasEnded(key);
    const roots = this.#replay.table.currentRoots(this.#now());
    if (roots.length === 1 && roots[0]?.record === key) throw lastRoot(key);
    await this.#append(keystore, [
      { event: "revoked", key, replaces: null, reason, distrust_all: distrustAll },
    ]);
    return key;
  }

  /** What an auditor pins. */
  trustRoot(): TrustRoot {
    const { table } = this.#replay;
    // What a distrusted root key introduced falls with it: who reads this file has no key log.
    const distrusted = table.distrusted();
    const keys = table.windows.map((window) => ({
      ...window.record,
      introduced: window.introduced,
      ended: window.ended,
      ended_by: window.endedBy,
      distrust_all: distrusted.has(window.record.key_id),
    }));
    return {
      format: "sovereign.trust-root",
      schema_version: "1.0.0",
      installation_id: this.#installationId,
      exported_at: this.#clock.now().toISOString(),
      root_keys: keys
        .filter((key) => key.purpose === "root" && !key.distrust_all)
        .map(({ key_id, public_key }) => ({ key_id, public_key })),
      key_log: { count: this.#hashes.length, hashes: [...this.#hashes] },
      keys,
    };
  }

  /** Every name is judged before the first key is made. */
  async #createAll(keystore: Keystore, slots: readonly KeySlot[]): Promise<KeyRecord[]> {
    for (const { purpose, role } of slots) refuseName(purpose, role);
    refuseOneHolder(this.#holders(), slots);
    const made: KeyRecord[] = [];
    for (const slot of slots) made.push(await this.#create(keystore, slot));
    return made;
  }

  /** Whose keys are in force. */
  #holders(): KeySlot[] {
    const { table } = this.#replay;
    const at = this.#now();
    return table.windows
      .filter((window) => table.refusal(window, table.count, at) === null)
      .map(({ record }) => record);
  }

  #create(keystore: Keystore, { purpose, role, notAfter = null }: KeySlot): Promise<KeyRecord> {
    Keystore.assertMade(keystore);
    return keystore.create(purpose, role, { notBefore: this.#now(), notAfter });
  }

  #find(reference: string): KeyWindow {
    const { table } = this.#replay;
    const exact = table.get(reference);
    if (exact !== undefined) return exact;
    const enough = reference.length >= PREFIX_MIN;
    const begins = table.windows.filter(
      ({ record }) => enough && record.key_id.startsWith(reference),
    );
    const [only] = begins;
    if (only !== undefined && begins.length === 1) return only;
    throw new SovereignError(
      "ERR_KEY_NOT_FOUND",
      `Expected a key's id or at least ${PREFIX_MIN} characters of its beginning, found ${reference}, which fits ${begins.length} keys. List them with: sovereign keys list`,
      { reference },
    );
  }

  /** Where another process was quicker, what it appended is read, and ours signed anew after it. */
  async #append(
    keystore: Keystore,
    changes: readonly Change[],
    attempts = ATTEMPTS,
    beside: Beside = {},
  ): Promise<void> {
    Keystore.assertMade(keystore);
    try {
      for (let attempt = 1; !(await this.#tryAppend(keystore, changes, beside)); attempt++) {
        if (attempt >= attempts) throw conflict();
        await this.refresh();
      }
    } catch (error) {
      // Where it is not known whether they were enrolled, their keys are kept.
      const refused = REFUSALS.some((code) => isCoded(error, code));
      const made = refused ? changes.filter(({ event }) => event !== "revoked") : [];
      for (const { key } of made) await keystore.discard(key.key_id);
      throw error;
    }
    await this.refresh();
    await this.settle(keystore);
  }

  /** Complete, or take away, the key files of changes that were cut short: of this process or others. */
  async settle(keystore: Keystore): Promise<void> {
    Keystore.assertMade(keystore);
    const { table } = this.#replay;
    const isEnrolled = (keyId: string): boolean => table.get(keyId) !== undefined;
    await keystore.settle(isEnrolled, this.#clock.now().getTime());
  }

  /**
   * Who was quicker may have ended the very key, or given the other of two keys to the same holder:
   * then nothing is appended, and nothing is wrong with the log.
   */
  #refuseOvertaken(changes: readonly Change[], { another }: Beside): void {
    const { table } = this.#replay;
    for (const { event, key, replaces, distrust_all } of changes) {
      if (event === "introduced") refuseOneHolder(this.#holders(), [key]);
      if (event === "introduced" && another !== true) refuseSecond(this.#holders(), [key]);
      const ending = event === "revoked" ? key.key_id : replaces;
      const ended = ending === null ? null : (table.get(ending)?.ended ?? null);
      if (ended !== null && !distrust_all) throw overtaken(slotText(key));
    }
  }

  /**
   * INVARIANT: what is appended was judged and signed for the very place where it is appended. Others of
   * this process may read on while it is signed, so the place is taken before.
   */
  async #tryAppend(
    keystore: Keystore,
    changes: readonly Change[],
    beside: Beside,
  ): Promise<boolean> {
    const place = this.#hashes.length;
    this.#refuseOvertaken(changes, beside);
    const events = await this.#sign(keystore, changes);
    return this.#store.append(place, events);
  }

  /** INVARIANT: nothing is appended that a replay would not take. */
  async #sign(keystore: Keystore, changes: readonly Change[]): Promise<NewKeyEvent[]> {
    const ahead = this.#replay.fork();
    const events: NewKeyEvent[] = [];
    for (const change of changes) {
      const { key, event } = change;
      const issued_at = this.#now();
      const sequence = ahead.table.count;
      const predicate: KeyEvent = {
        installation_id: this.#installationId,
        sequence,
        ...change,
        issued_at,
      };
      const envelope = signStatement(
        [{ name: `key:${key.purpose}`, sha256: key.key_id }],
        predicateType("key-event"),
        predicate,
        await rootSigner(
          keystore,
          sequence === 0 ? [key.key_id] : rootKeyIds(ahead.table, issued_at),
        ),
      );
      const eventType = `key.${event}`;
      ahead.apply(envelope, eventType, issued_at);
      events.push({ eventType, envelope });
    }
    return events;
  }

  #now(): string {
    return this.#clock.now().toISOString();
  }
}

fixClass(KeyLog);

/** What was asked for is what is made: who asked may change it while the key is written. */
function ownSlot({ purpose, role, notAfter = null }: KeySlot): KeySlot {
  return Object.freeze({ purpose, role, notAfter });
}

function introduction(key: KeyRecord): Change {
  return { event: "introduced", key, replaces: null, reason: null, distrust_all: false };
}

/** The root keys that may sign now, newest first. */
function rootKeyIds(table: KeyTable, at: string): string[] {
  const roots = table.valid("root", null, table.count, at);
  if (roots.length > 0) return roots.map(({ record }) => record.key_id).reverse();
  throw new SovereignError("ERR_KEYS_MISSING", "No root key is valid now: is the clock right?");
}

/** Any root key signs; a spare one may be here while the newest is lost. */
async function rootSigner(keystore: Keystore, keyIds: readonly string[]): Promise<Signer> {
  for (const keyId of keyIds) {
    try {
      return await keystore.signer(keyId);
    } catch (error) {
      if (!isCoded(error, "ERR_KEY_NOT_FOUND")) throw error;
    }
  }
  const ids = keyIds.map((keyId) => keyId.slice(0, 16)).join(", ");
  const text = `The folder of the keys has no root key that is in force (${ids}), and only a root key enrols and withdraws keys. Put the file of one of them back, such as a spare that you made with: sovereign keys add --root. Then: sovereign keys replace root`;
  throw new SovereignError("ERR_KEY_NOT_FOUND", text, { purpose: "root" });
}

function isCoded(error: unknown, code: ErrorCode): boolean {
  return error instanceof SovereignError && error.code === code;
}

function conflict(): SovereignError {
  const text =
    "Other processes change the key log at the same time. Look at it with `sovereign keys list`, then try again.";
  return new SovereignError("ERR_STREAM_CONFLICT", text);
}

function overtaken(slot: string): SovereignError {
  const text = `Another command ended the key ${slot} at the same time, so nothing was changed. Look at what is in force with: sovereign keys list. Then try again.`;
  return new SovereignError("ERR_KEY_OVERTAKEN", text, { slot });
}

function neverEnrolled(slot: KeySlot): SovereignError {
  const text = `No key was ever enrolled for ${slotText(slot)}. Enrol one with: sovereign keys add --${slotText(slot).replace(":", " ")}. See those that were: sovereign keys list`;
  return new SovereignError("ERR_KEY_NOT_FOUND", text);
}

function keysExist(): SovereignError {
  return new SovereignError("ERR_KEYS_EXIST", "This installation has keys already.");
}

function lastRoot({ key_id }: KeyRecord): SovereignError {
  return new SovereignError(
    "ERR_KEY_LAST_ROOT",
    `${key_id} is the only root key: without one, no key could be enrolled or withdrawn any more. Put another in its place with: sovereign keys replace root. Then the old one can be distrusted.`,
    { keyId: key_id },
  );
}

function hasEnded({ key_id, purpose }: KeyRecord): SovereignError {
  return new SovereignError(
    "ERR_KEY_ENDED",
    `The ${purpose} key ${key_id} has ended already, and ends only once. What is in force: sovereign keys list. To believe nothing that it ever signed: sovereign keys revoke ${key_id} --distrust-all`,
    { keyId: key_id },
  );
}
