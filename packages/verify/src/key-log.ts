import {
  type ComplianceBundle,
  digestOf,
  type Envelope,
  KeyLogReplay,
  type KeyTable,
  SovereignError,
  type TrustRoot,
} from "@sovereign/core";
import { type StepRecorder, wrong } from "./step-recorder.ts";

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
  trust: TrustRoot | null,
  step: StepRecorder,
): KeyTable {
  const replay = new KeyLogReplay(bundle.manifest.installation_id);
  for (const [index, { entry }] of bundle.key_log.entries()) {
    const done = step.check(`key_log[${index}]`, () => {
      const envelope = keyEventOf(bundle, entry.data);
      return replay.apply(envelope, entry.event_type, entry.timestamp);
    });
    if (done === null) break;
  }
  step.check("trust_root", () => {
    compareTrust(bundle, trust, replay.table);
  });
  return replay.table;
}

function keyEventOf(bundle: ComplianceBundle, data: unknown): Envelope {
  const digest = (data as { envelopes?: { key_event?: unknown } }).envelopes?.key_event;
  const envelope =
    typeof digest === "string" && Object.hasOwn(bundle.envelopes, digest)
      ? bundle.envelopes[digest]
      : undefined;
  if (envelope === undefined || digestOf(envelope) !== digest) {
    throw wrong("The envelope of the key event is missing or another one.");
  }
  return envelope;
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
      `The key log begins with the root key ${first?.record.key_id ?? "(none)"}, which the trust root does not know.`,
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
}
