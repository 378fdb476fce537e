import { base64Decode } from "../bytes/index.ts";
import { type PublicKey, parsePublicKey } from "../ed25519/index.ts";
import { SovereignError } from "../errors/index.ts";
import { canonicalize, fixClass } from "../json/index.ts";
import {
  type KeyEvent,
  type KeyPurpose,
  type KeyRecord,
  NAMED_PURPOSES,
} from "../formats/index.ts";

/**
 * A key with its window in the key log, by the sequence numbers of the events that bound it. It is
 * frozen: tables share it, and whoever holds one of them holds it.
 */
export interface KeyWindow {
  readonly record: KeyRecord;
  readonly key: PublicKey;
  readonly introduced: number;
  readonly ended: number | null;
  readonly endedBy: "rotated" | "revoked" | null;
  readonly distrustAll: boolean;
  /** The root key that signed for it, itself for the first of all; null where nobody was named. */
  readonly introducedBy: string | null;
}

/** As many as a trust root can pin. Each of them may be tried with each event of a key log. */
const ROOTS_MAX = 16;

/** Why a key may not be used at a place in the log. */
export type KeyRefusal = "not_introduced" | "ended" | "distrusted" | "outside_time";

/**
 * The keys of an installation, replayed from its key log.
 *
 * An epoch is a count of key events: a signature made at epoch `e` may use the keys that events
 * 0 … e-1 introduced and did not end. So a later revocation never undoes what was signed before
 * it, unless it says that the key is to be distrusted from its beginning.
 */
export class KeyTable {
  readonly #windows = new Map<string, KeyWindow>();
  /** Root keys that have not ended: kept apart, because each event asks for them. */
  readonly #roots = new Set<string>();
  #count = 0;
  #sealed = false;

  /** The number of events applied: the epoch of a signature made now. */
  get count(): number {
    return this.#count;
  }

  /** All keys, in the order of their introduction. */
  get windows(): readonly KeyWindow[] {
    return [...this.#windows.values()];
  }

  /** The same, one after another: who looks at the first of many needs no list of all. */
  each(): IterableIterator<KeyWindow> {
    return this.#windows.values();
  }

  /** From here on the table never changes: whoever is handed it can only read it. */
  seal(): this {
    this.#sealed = true;
    // Nor can it be given other answers: everybody is handed the same table.
    return Object.freeze(this);
  }

  /** The same keys in a table of its own: the windows themselves never change. */
  copy(): KeyTable {
    const table = new KeyTable();
    for (const [keyId, window] of this.#windows) table.#windows.set(keyId, window);
    for (const keyId of this.#roots) table.#roots.add(keyId);
    table.#count = this.#count;
    return table;
  }

  /** The root keys that may sign the next event, at this time. */
  currentRoots(at: string): KeyWindow[] {
    return [...this.#roots]
      .flatMap((keyId) => this.#windows.get(keyId) ?? [])
      .filter((window) => this.refusal(window, this.#count, at) === null);
  }

  get(keyId: string): KeyWindow | undefined {
    return this.#windows.get(keyId);
  }

  /**
   * Apply the next event of the key log. Who signed it is the caller's to check.
   *
   * @param signedBy the id of the root key that signed it, to know what falls with that key
   * @throws ERR_KEY_LOG_INVALID when the event is out of order, repeats a key, ends an unknown one
   *   or says of a key what its introduction did not
   */
  apply(event: KeyEvent, signedBy: string | null = null): void {
    if (this.#sealed) throw invalid("this table of keys is a copy that is only read");
    if (event.sequence !== this.#count) {
      throw invalid(`expected key event ${this.#count}, found ${event.sequence}`);
    }
    if (event.event === "revoked") this.#revoke(event);
    else {
      if (event.event === "rotated") this.#rotate(event);
      else if (event.replaces !== null) throw invalid("an introduction replaces no key");
      else if (event.distrust_all) throw invalid("an introduction distrusts no key");
      this.#introduce(event.key, signedBy);
    }
    this.#count += 1;
  }

  /**
   * The keys whose signatures count for nothing: those that the log distrusts, those of `others`,
   * and every key that one of them introduced, and so on. Whoever had a root key from its beginning
   * could have introduced any key that it signed for.
   */
  distrusted(others: Iterable<string> = []): ReadonlySet<string> {
    const found = new Set(others);
    // A key is introduced after the key that signs for it: one pass in that order finds them all.
    for (const { record, distrustAll, introducedBy } of this.windows) {
      const falls = introducedBy !== null && found.has(introducedBy);
      if (distrustAll || falls) found.add(record.key_id);
    }
    return found;
  }

  /** Null when the key may be used for a signature at this epoch and time, else why not. */
  refusal(window: KeyWindow, epoch: number, at: string): KeyRefusal | null {
    if (window.distrustAll) return "distrusted";
    if (window.introduced >= epoch) return "not_introduced";
    if (window.ended !== null && window.ended < epoch) return "ended";
    const { not_before, not_after } = window.record;
    // One spelling per instant, so the order of the text is the order of time.
    if (at < not_before || (not_after !== null && at > not_after)) return "outside_time";
    return null;
  }

  /** The keys of a purpose (and role) that may be used at this epoch and time. */
  valid(purpose: KeyPurpose, role: string | null, epoch: number, at: string): KeyWindow[] {
    return this.windows.filter(
      (window) =>
        window.record.purpose === purpose &&
        window.record.role === role &&
        this.refusal(window, epoch, at) === null,
    );
  }

  #introduce(record: KeyRecord, introducedBy: string | null): void {
    if (this.#windows.has(record.key_id)) throw invalid(`key ${record.key_id} is enrolled twice`);
    const key = parsePublicKey(base64Decode(record.public_key));
    if (key.keyId !== record.key_id) throw invalid(`key ${record.key_id} has another key's bytes`);
    if (NAMED_PURPOSES.includes(record.purpose) !== (record.role !== null)) {
      throw invalid(`key ${record.key_id}: ${record.purpose} keys need a role, or must have none`);
    }
    if (record.purpose === "root") {
      if (this.#roots.size >= ROOTS_MAX) throw invalid(`more than ${ROOTS_MAX} root keys at once`);
      this.#roots.add(record.key_id);
    }
    const window: KeyWindow = {
      record: Object.freeze({ ...record }),
      key,
      introduced: this.#count,
      ended: null,
      endedBy: null,
      distrustAll: false,
      introducedBy,
    };
    this.#windows.set(record.key_id, Object.freeze(window));
  }

  #revoke({ key, replaces, distrust_all }: KeyEvent): void {
    if (replaces !== null) throw invalid("a revocation replaces no key");
    const window = this.#windows.get(key.key_id);
    if (window !== undefined && canonicalize(window.record) !== canonicalize(key)) {
      throw invalid(`key ${key.key_id} is revoked with another record than it was introduced with`);
    }
    this.#end(key.key_id, "revoked", distrust_all);
  }

  #rotate(event: KeyEvent): void {
    const old = event.replaces === null ? undefined : this.#windows.get(event.replaces);
    if (old === undefined) throw invalid("a rotation names the key that it replaces");
    if (old.record.purpose !== event.key.purpose || old.record.role !== event.key.role) {
      throw invalid("a rotation keeps the purpose and the role");
    }
    this.#end(old.record.key_id, "rotated", event.distrust_all);
  }

  #end(keyId: string, endedBy: "rotated" | "revoked", distrustAll: boolean): void {
    const window = this.#windows.get(keyId);
    if (window === undefined) throw invalid(`key ${keyId} was never introduced`);
    // A key that was rotated away may still be revoked, to distrust all that it signed.
    if (window.ended !== null && !(endedBy === "revoked" && distrustAll)) {
      throw invalid(`key ${keyId} has already ended`);
    }
    this.#roots.delete(keyId);
    const changed: KeyWindow = {
      ...window,
      ended: window.ended ?? this.#count,
      endedBy: window.endedBy ?? endedBy,
      distrustAll: window.distrustAll || distrustAll,
    };
    this.#windows.set(keyId, Object.freeze(changed));
  }
}

fixClass(KeyTable);

function invalid(found: string): SovereignError {
  return new SovereignError("ERR_KEY_LOG_INVALID", `The key log does not hold together: ${found}.`);
}
