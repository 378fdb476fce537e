import {
  type ConfigSnapshot,
  digestOf,
  type EntryData,
  GENESIS_HASH,
  type KeyTable,
  type LedgerEntry,
  parseEnvelope,
  parseStatement,
  SovereignError,
  sha256Hex,
  verifyEnvelope,
  parseEntry,
} from "@sovereign/core";
import type { LedgerReader, StreamHead } from "../ledger/index.ts";
import type { RunRow, StepRow } from "./ports.ts";
import { isPlaceRefusal, judgePlace } from "./run-places.ts";
import { stepOf } from "./run-recorder.ts";

type Ledger = Pick<LedgerReader, "readStream" | "readEnvelopes">;

/** What a run that is gone on with is made of, computed from its files. */
export interface Wanted {
  readonly planDigest: string;
  readonly configDigest: string;
  /** Null for what only ends a run: it allows nothing, under no policy. */
  readonly policyDigest: string | null;
}

/**
 * A run goes on as what it was admitted as: its first entry and the signed snapshot say so. Rows
 * and files can be changed by whoever holds the database or the folder, and are not believed.
 *
 * The same policy file may mean another policy in a later version; evidence of both would be
 * evidence of neither.
 *
 * @param row untrusted
 * @param keys those of the installation
 * @throws ERR_RUN_DIVERGED
 */
export async function requireAdmitted(
  ledger: Ledger,
  row: Pick<RunRow, "runId" | "tenantId" | "kind" | "mode">,
  wanted: Wanted,
  keys: KeyTable,
): Promise<void> {
  const { runId, tenantId } = row;
  const first = await firstEntry(ledger, tenantId, runId);
  const admitted = first.data as EntryData<"run.admitted">;
  const { plan_digest, config_digest, policy_digest, mode, kind = row.kind } = admitted;
  const ends = wanted.policyDigest === null;
  const differs: [boolean, string, string, string][] = [
    [mode !== row.mode, "in the mode", mode, row.mode],
    [kind !== row.kind, "as the kind", kind, row.kind],
    [plan_digest !== wanted.planDigest, "with the plan", plan_digest, wanted.planDigest],
    [
      !ends && policy_digest !== wanted.policyDigest,
      "under the policy",
      policy_digest,
      wanted.policyDigest ?? "",
    ],
    [
      !ends && config_digest !== wanted.configDigest,
      "with the configuration",
      config_digest,
      wanted.configDigest,
    ],
  ];
  const found = differs.find(([wrong]) => wrong);
  if (found !== undefined) {
    const [, what, began, now] = found;
    throw diverged(runId, `it began ${what} ${began}; what is there now is ${now}`);
  }
  const snapshot = await signedSnapshot(ledger, tenantId, admitted, keys);
  const named = [runId, tenantId, mode, plan_digest, config_digest, policy_digest];
  if (snapshot === null || digestOf(named) !== digestOf(placeOf(snapshot))) {
    throw diverged(runId, "its first entry is not what the signed snapshot of its beginning says");
  }
}

/**
 * The steps of a run, from its chain of entries. A row that says a step was completed is not
 * believed: nothing would show later that the step was never done.
 *
 * @returns the steps, and the head to which the run's next entry is chained: where another process
 *   has written meanwhile, the commit refuses that entry
 * @throws ERR_RUN_DIVERGED where the chain is broken or sealed, an outcome has no authorisation, or a
 *   place was authorised twice
 */
export async function readSteps(
  ledger: Pick<Ledger, "readStream">,
  tenantId: string,
  runId: string,
): Promise<{ readonly steps: StepRow[]; readonly head: StreamHead }> {
  const steps = new Map<string, StepRow>();
  let previous = GENESIS_HASH;
  let count = 0;
  for await (const { bytes, hash } of ledger.readStream(tenantId, runId)) {
    const entry = entryOf(bytes, runId);
    if (entry.sequence !== count || entry.previous_hash !== previous || sha256Hex(bytes) !== hash) {
      throw diverged(runId, `entry ${count} of its ledger is not what was recorded`);
    }
    if (entry.event_type === "run.sealed") throw diverged(runId, "the ledger says that it ended");
    followStep(steps, entry);
    previous = hash;
    count += 1;
  }
  return { steps: [...steps.values()], head: { count, hash: previous } };
}

/** The steps of a run that the chain was judged of, sealed or not. @throws ERR_RUN_DIVERGED */
export function stepsOf(entries: readonly LedgerEntry[]): StepRow[] {
  const steps = new Map<string, StepRow>();
  for (const entry of entries) followStep(steps, entry);
  return [...steps.values()];
}

function followStep(steps: Map<string, StepRow>, entry: LedgerEntry): void {
  const { event_type: event, data, sequence, stream } = entry;
  const step = stepOf(event, data);
  if (step === null) return;
  // Who is at work on it now is another process than the one that wrote this.
  const verdict = judgePlace(steps.get(step.stepId), step, false);
  if (isPlaceRefusal(verdict)) throw diverged(stream, `entry ${sequence}: ${verdict.detail}`);
  if (verdict !== "stays") steps.set(step.stepId, verdict);
}

async function firstEntry(
  ledger: Pick<Ledger, "readStream">,
  tenantId: string,
  runId: string,
): Promise<LedgerEntry> {
  for await (const { bytes } of ledger.readStream(tenantId, runId)) {
    const entry = entryOf(bytes, runId);
    if (entry.event_type === "run.admitted") return entry;
    break;
  }
  throw diverged(runId, "its ledger does not begin with its admission");
}

function entryOf(bytes: Uint8Array, runId: string): LedgerEntry {
  const entry = parseEntry(bytes);
  if (entry.stream === runId) return entry;
  throw diverged(runId, `its ledger holds an entry of ${entry.stream}`);
}

/** Null where no configuration key of the installation signed it. */
async function signedSnapshot(
  ledger: Pick<Ledger, "readEnvelopes">,
  tenantId: string,
  { envelopes }: EntryData<"run.admitted">,
  keys: KeyTable,
): Promise<ConfigSnapshot | null> {
  const named = envelopes.config_snapshot;
  const bytes = (await ledger.readEnvelopes(tenantId, [named])).get(named);
  if (bytes === undefined) return null;
  const envelope = parseEnvelope(bytes);
  for (const { record, key, distrustAll } of keys.windows) {
    if (record.purpose !== "config" || distrustAll) continue;
    try {
      const { body } = verifyEnvelope(envelope, [key]);
      return parseStatement(body, "config-snapshot").predicate;
    } catch (error) {
      if (!(error instanceof SovereignError)) throw error;
    }
  }
  return null;
}

function placeOf(snapshot: ConfigSnapshot): string[] {
  const { run_id, tenant_id, mode, plan_digest, config_digest, policy_digest } = snapshot;
  return [run_id, tenant_id, mode, plan_digest, config_digest, policy_digest];
}

function diverged(runId: string, found: string): SovereignError {
  const text = `Run ${runId} cannot go on: ${found}. Start a new run.`;
  return new SovereignError("ERR_RUN_DIVERGED", text, { runId });
}
