import {
  type ComplianceBundle,
  digestOf,
  GENESIS_HASH,
  INSTALLATION_LOG,
  type JsonValue,
  type PlacedEntry,
  SovereignError,
} from "@sovereign/core";
import type { EntryHashes } from "./entry-hashes.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

/** Step 1: every entry has its hash, and each follows the one before, without gaps. */
export function verifyHashChain(
  bundle: ComplianceBundle,
  hashes: EntryHashes,
  step: StepRecorder,
): void {
  const { manifest } = bundle;
  verifyManifest(bundle, step);
  const run = { stream: manifest.run_id, tenant: manifest.tenant_id, run: manifest.run_id };
  verifyStream(bundle.entries, { ...run, section: "entries" }, hashes, step);
  const keys = { stream: "keys", tenant: INSTALLATION_LOG, run: null };
  verifyStream(bundle.key_log, { ...keys, section: "key_log" }, hashes, step);
  step.check("entries", () => {
    if (bundle.entries.length === 0) throw wrong("There are no entries.");
    if (bundle.entries.at(-1)?.entry.event_type !== "run.sealed") {
      throw new SovereignError(
        "ERR_VERIFY_INCOMPLETE",
        "The run is not sealed: it has not ended, or its end was cut off.",
      );
    }
  });
  // Clocks are set back: it is told, and is no fault of the evidence.
  const falls = fallsIn(bundle.entries);
  if (falls > 0) step.detail("times_that_fall", falls);
  step.detail("entries", bundle.entries.length);
  step.detail("key_log_entries", bundle.key_log.length);
}

function fallsIn(entries: readonly PlacedEntry[]): number {
  return entries.filter(
    ({ entry }, at) => at > 0 && entry.timestamp < (entries[at - 1]?.entry.timestamp ?? ""),
  ).length;
}

function verifyManifest(bundle: ComplianceBundle, step: StepRecorder): void {
  const { counts, sections } = bundle.manifest;
  const found: Record<keyof typeof counts, number> = {
    entries: bundle.entries.length,
    key_log: bundle.key_log.length,
    envelopes: Object.keys(bundle.envelopes).length,
    artifacts: bundle.artifacts.length,
  };
  for (const name of Object.keys(found) as (keyof typeof counts)[]) {
    step.check(`manifest.counts.${name}`, () => {
      expectEqual(found[name], counts[name], `The number of ${name}`);
    });
  }
  // A section that there is and that has no digest here is as wrong as the reverse.
  const names = new Set(Object.keys(sections) as (keyof typeof sections)[]);
  if (bundle.goal !== undefined) names.add("goal");
  for (const name of names) {
    step.check(`manifest.sections.${name}`, () => {
      const section = bundle[name] as JsonValue | undefined;
      const digest = section === undefined ? undefined : digestOf(section);
      expectEqual(digest, sections[name], `The digest of ${name}`);
    });
  }
}

function verifyStream(
  entries: readonly PlacedEntry[],
  of: { stream: string; tenant: string; run: string | null; section: string },
  hashes: EntryHashes,
  step: StepRecorder,
): void {
  let previous = GENESIS_HASH;
  let lastIndex = -1;
  for (const [sequence, placed] of entries.entries()) {
    const { index, hash, entry } = placed;
    step.check(`${of.section}[${sequence}]`, () => {
      expectEqual(hashes.hash(placed), hash, "The hash");
      expectEqual(entry.sequence, sequence, "The sequence number");
      expectEqual(entry.previous_hash, previous, "The previous hash");
      expectEqual(entry.stream, of.stream, "The stream");
      expectEqual(entry.tenant_id, of.tenant, "The tenant");
      expectEqual(entry.run_id, of.run, "The run");
      if (index <= lastIndex) throw wrong(`Index ${index} does not follow ${lastIndex}.`);
    });
    previous = hash;
    lastIndex = index;
  }
}
