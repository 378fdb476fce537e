import { type Envelope, verifyEnvelope } from "../dsse/index.ts";
import { type PublicKey, parsePublicKey } from "../ed25519/index.ts";
import { base64Decode } from "../bytes/index.ts";
import { SovereignError } from "../errors/index.ts";
import type { KeyEvent } from "../formats/index.ts";
import { fixClass } from "../json/index.ts";
import { parseStatement } from "../statement/index.ts";
import { KeyTable } from "./key-table.ts";

/**
 * Replays a key log, event by event, checking that a root key that was valid before an event
 * signed it. The first event introduces the first root key and is signed by that key itself: only
 * a trust root from outside can say whether it is the right one.
 */
export class KeyLogReplay {
  readonly table: KeyTable;
  readonly #installationId: string;

  constructor(installationId: string, table = new KeyTable()) {
    this.#installationId = installationId;
    this.table = table;
    Object.freeze(this);
  }

  /**
   * The same replay, to be continued apart: a log is only appended to, so what it would not take
   * must be found out before it is in it.
   */
  fork(): KeyLogReplay {
    return new KeyLogReplay(this.#installationId, this.table.copy());
  }

  /**
   * Apply the next event.
   *
   * @param envelope untrusted
   * @param eventType the ledger entry's `event_type`, which must agree with the statement
   * @param at the ledger entry's timestamp
   * @throws ERR_ENVELOPE_SIGNATURE, ERR_STATEMENT_MALFORMED or ERR_KEY_LOG_INVALID
   */
  apply(envelope: Envelope, eventType: string, at: string): KeyEvent {
    const { body, signers } = verifyEnvelope(envelope, this.#rootsFor(envelope, at));
    const { predicate: event, subject } = parseStatement(body, "key-event");
    const [about, ...others] = subject;
    const { purpose, key_id } = event.key;
    if (others.length > 0 || about?.name !== `key:${purpose}` || about.digest.sha256 !== key_id) {
      throw invalid(`the subject of event ${event.sequence} is not its key`);
    }
    if (event.installation_id !== this.#installationId) {
      throw invalid(`event ${event.sequence} is of another installation`);
    }
    if (`key.${event.event}` !== eventType) {
      throw invalid(`event ${event.sequence} says ${event.event}, its entry says ${eventType}`);
    }
    if (this.table.count === 0 && event.key.purpose !== "root") {
      throw invalid("the first event introduces a root key");
    }
    this.table.apply(event, signers[0]?.keyId ?? null);
    return event;
  }

  /** Unverified content is read only to find the first root key, which then must verify it. */
  #rootsFor(envelope: Envelope, at: string): PublicKey[] {
    const { table } = this;
    if (table.count > 0) return table.currentRoots(at).map(({ key }) => key);
    const first = parseStatement(base64Decode(envelope.payload), "key-event").predicate;
    return [parsePublicKey(base64Decode(first.key.public_key))];
  }
}

fixClass(KeyLogReplay);

function invalid(found: string): SovereignError {
  return new SovereignError("ERR_KEY_LOG_INVALID", `The key log does not hold together: ${found}.`);
}
