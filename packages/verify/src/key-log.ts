import {
  base64Decode,
  canonicalize,
  type ComplianceBundle,
  KeyLogReplay,
  type KeyTable,
  type KeyWindow,
  parsePublicKey,
  SovereignError,
  type TrustRoot,
} from "@sovereign/core";
import { checkEnvelope, envelopeIn } from "./evidence.ts";
import type { Events } from "./events.ts";
import { type StepRecorder, wrong } from "./step-recorder.ts";

/** The keys of a bundle, as far as its log holds. */
export interface ReplayedKeys {
  readonly table: KeyTable;
  readonly distrusted: ReadonlySet<string>;
  /** Checkpoint keys that may have signed a head over this key log, or over a later one. */
  readonly heads: readonly Pick<KeyWindow, "key" | "record">[];
}

/**
 * Replay the bundle's key log, and hold it against the trust root.
 *
 * Without a trust root, or with one of another installation, the evidence may be consistent and
 * still be anybody's: the step is then UNTRUSTED, whatever else passes.
 *
 * @returns the keys; those of the events before the first bad one when the log does not hold
 */
export function replayKeyLog(
  bundle: ComplianceBundle,
  events: Events,
  trust: TrustRoot | null,
  step: StepRecorder,
): ReplayedKeys {
  const replay = new KeyLogReplay(bundle.manifest.installation_id);
  for (const [index, placed] of bundle.key_log.entries()) {
    const done = step.check(`key_log[${index}]`, () => {
      const { event_type: event, timestamp } = placed.entry;
      const known = event as "key.introduced" | "key.rotated" | "key.revoked";
      const envelope = envelopeIn(bundle, events.data(placed, known).envelopes.key_event);
      checkEnvelope(envelope);
      return replay.apply(envelope, event, timestamp);
    });
    if (done === null) break;
  }
  const { table } = replay;
  const agreed = step.check("trust_root", () => {
    compareTrust(bundle, trust, table);
    return true;
  });
  const named = (trust?.keys ?? []).filter((key) => key.distrust_all);
  const distrusted = table.distrusted(named.map((key) => key.key_id));
  const later = agreed === true ? laterHeads(trust, table) : [];
  return { table, distrusted, heads: [...headsOf(table), ...later] };
}

/** A head is signed when its entries stand, so by a key that had not ended at the log's end. */
function headsOf(table: KeyTable): KeyWindow[] {
  return table.windows.filter(
    ({ record, ended }) =>
      record.purpose === "checkpoint" && (ended === null || ended >= table.count),
  );
}

/** Keys that were introduced after the bundle's key log ends: the trust root alone knows them. */
function laterHeads(trust: TrustRoot | null, table: KeyTable): ReplayedKeys["heads"] {
  return (trust?.keys ?? []).flatMap((key) => {
    if (key.purpose !== "checkpoint" || key.introduced < table.count) return [];
    return [{ record: key, key: parsePublicKey(base64Decode(key.public_key)) }];
  });
}

function compareTrust(bundle: ComplianceBundle, trust: TrustRoot | null, keys: KeyTable): void {
  if (trust === null) {
    throw new SovereignError(
      "ERR_VERIFY_UNTRUSTED",
      "No trust root was given: the evidence may be consistent and still be anybody's. Get trust-root.json by another way than the bundle, and pass --trust.",
    );
  }
  const first = keys.windows[0];
  const pinned = trust.root_keys.some(({ key_id }) => key_id === first?.record.key_id);
  if (!pinned) {
    throw new SovereignError(
      "ERR_VERIFY_UNTRUSTED",
      `The key log begins with the root key ${first?.record.key_id ?? "(none)"}, which the trust root does not pin.`,
    );
  }
  if (bundle.manifest.installation_id !== trust.installation_id) {
    throw wrong(`The bundle is of another installation than the trust root.`);
  }
  const { hashes } = trust.key_log;
  for (const [index, { hash }] of bundle.key_log.entries()) {
    const expected = hashes[index];
    if (expected !== undefined && hash !== expected) {
      throw wrong(`The key log was forked or rewritten at event ${index}.`);
    }
  }
  compareKeys(trust, keys);
}

/** What both know of a key is the same. */
function compareKeys(trust: TrustRoot, keys: KeyTable): void {
  const pinned = new Map(trust.keys.map((key) => [key.key_id, key]));
  for (const { record, introduced } of keys.windows) {
    const known = pinned.get(record.key_id);
    if (known === undefined && introduced >= trust.key_log.count) continue;
    const { key_id, public_key, purpose, role, not_before, not_after } = known ?? record;
    const same = canonicalize({ key_id, public_key, purpose, role, not_before, not_after });
    if (known === undefined || known.introduced !== introduced || same !== canonicalize(record)) {
      throw wrong(
        `The trust root has another record of the key ${record.key_id} than the key log.`,
      );
    }
  }
}
