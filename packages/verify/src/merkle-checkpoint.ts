import {
  type ComplianceBundle,
  hexDecode,
  isSovereignError,
  openCheckpoint,
  type OpenedNote,
  type PlacedEntry,
  SovereignError,
  verifyInclusionSet,
} from "@sovereign/core";
import { type Evidence, untrusted } from "./evidence.ts";
import type { ReplayedKeys } from "./key-log.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

type Heads = ReplayedKeys["heads"];

/** Step 2: the entries stand under heads of the logs that a checkpoint key signed. */
export function verifyMerkle(evidence: Evidence, heads: Heads, step: StepRecorder): void {
  const { logs, entries, key_log, manifest } = evidence.bundle;
  const base = `sovereign/${manifest.installation_id}`;
  const tenant = `${base}/tenant/${manifest.tenant_id}`;
  step.check("logs.tenant", () => {
    verifyLog(evidence, heads, { log: logs.tenant, origin: tenant, entries });
  });
  step.check("logs.installation", () => {
    const origin = `${base}/installation`;
    verifyLog(evidence, heads, { log: logs.installation, origin, entries: key_log });
  });
}

function verifyLog(
  evidence: Evidence,
  heads: Heads,
  under: {
    readonly log: ComplianceBundle["logs"]["tenant"];
    readonly origin: string;
    readonly entries: readonly PlacedEntry[];
  },
): void {
  const { log, origin, entries } = under;
  expectEqual(log.origin, origin, "The origin");
  expectEqual(log.checkpoint.split("\n")[0], origin, "The checkpoint's origin");
  const last = evidence.bundle.entries.at(-1);
  if (last === undefined) throw wrong("There are no entries.");
  // A head has no time of its own: it was signed when the last of its entries stood, or later.
  const { timestamp } = last.entry;
  const living = heads.filter(({ record: { not_after: end } }) => end === null || end >= timestamp);
  const { checkpoint, signers } = openKnown(log.checkpoint, origin, living);
  verifyInclusionSet(
    checkpoint.root,
    checkpoint.size,
    entries.map((placed) => ({ index: placed.index, hash: evidence.hashes.leaf(placed) })),
    log.proof.map((hash) => hexDecode(hash)),
  );
  // Last, so that what is wrong is not hidden behind who is distrusted.
  const [signer] = signers.filter(({ key }) => !evidence.distrusted.has(key.keyId));
  if (signer === undefined) throw untrusted(signers[0]?.key.keyId ?? "");
}

/** @throws ERR_VERIFY_UNTRUSTED where no known checkpoint key signed, and none is claimed wrongly */
function openKnown(
  note: string,
  origin: string,
  heads: Heads,
): ReturnType<typeof openCheckpoint> & Pick<OpenedNote, "signers"> {
  try {
    return openCheckpoint(
      note,
      origin,
      heads.map(({ key }) => key),
    );
  } catch (cause) {
    // A signature that claims a key of ours is named, and is wrong; otherwise no key of ours signed.
    const unknown = isSovereignError(cause, "ERR_NOTE_SIGNATURE") && !("name" in cause.details);
    if (!unknown) throw cause;
    const text =
      "No checkpoint key that the key log or the trust root knows signed the checkpoint.";
    throw new SovereignError("ERR_VERIFY_UNTRUSTED", text, {}, cause);
  }
}
