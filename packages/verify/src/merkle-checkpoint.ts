import {
  type ComplianceBundle,
  hexDecode,
  openCheckpoint,
  type PlacedEntry,
  verifyInclusionSet,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

/** Step 2: the entries stand under heads of the logs that a checkpoint key signed. */
export function verifyMerkle(evidence: Evidence, step: StepRecorder): void {
  const { logs, entries, key_log, manifest } = evidence.bundle;
  const base = `sovereign/${manifest.installation_id}`;
  const tenant = `${base}/tenant/${manifest.tenant_id}`;
  step.check("logs.tenant", () => {
    verifyLog(evidence, logs.tenant, tenant, entries);
  });
  step.check("logs.installation", () => {
    verifyLog(evidence, logs.installation, `${base}/installation`, key_log);
  });
}

function verifyLog(
  evidence: Evidence,
  log: ComplianceBundle["logs"]["tenant"],
  origin: string,
  entries: readonly PlacedEntry[],
): void {
  expectEqual(log.origin, origin, "The origin");
  const last = evidence.bundle.entries.at(-1);
  if (last === undefined) throw wrong("There are no entries.");
  const { keys } = evidence;
  // A head may be signed after the run's last entry, so the key log's end is the epoch.
  const signers = keys.valid("checkpoint", null, keys.count, last.entry.timestamp);
  const trusted = signers.filter(({ record }) => !evidence.distrusted.has(record.key_id));
  const { checkpoint } = openCheckpoint(
    log.checkpoint,
    origin,
    trusted.map(({ key }) => key),
  );
  verifyInclusionSet(
    checkpoint.root,
    checkpoint.size,
    entries.map((placed) => ({ index: placed.index, hash: evidence.hashes.leaf(placed) })),
    log.proof.map((hash) => hexDecode(hash)),
  );
}
