import {
  base64Decode,
  canonicalBytes,
  type ComplianceBundle,
  digestOf,
  type EntryData,
  GENESIS_HASH,
  isSovereignError,
  parseCanonicalJson,
  parseStatement,
  type PlacedEntry,
  type RunProof,
  RunTrace,
  type TraceHead,
  type TraceStep,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import type { Installation } from "../../installation/index.ts";
import { readRun } from "../../ledger/index.ts";
import { exportBundle, type RunRow } from "../../runs/index.ts";
import { expectHolds, expectUse } from "../budgets/budget-differences.ts";
import { expectIncidents } from "../incidents/incident-differences.ts";
import {
  Difference,
  expectContents,
  expectNonces,
  expectRow,
  expectSteps,
  expectTrace,
  noncesIn,
} from "./row-differences.ts";
import { runNotFound } from "./run-folder.ts";

/** What a run's proof comes to, recomputed now. */
export interface RunProofReport {
  readonly run_id: string;
  readonly tenant_id: string;
  readonly integrity: {
    readonly model: "HASH_CHAIN" | "MERKLE_TREE";
    readonly root_hash: string | null;
    readonly chain_length: number;
    readonly verification_status: "VERIFIED" | "FAILED" | "UNSUPPORTED";
    readonly failure_reason: string | null;
    /** Where the first difference is, such as `trace_steps[1].output`; null where there is none. */
    readonly place: string | null;
  };
  readonly traces: readonly TraceHead[];
  readonly steps: readonly TraceStep[];
  readonly verified_at: string;
}

/** Nothing is wrong, and nothing can be proved yet. */
class Unsupported extends Error {
  override readonly name = "Unsupported";
}

/** Its entries cannot be read here and now: that is no fault of theirs. */
const SAYS_NOTHING: ReadonlySet<string> = new Set(["ERR_STORE_UNAVAILABLE", "ERR_ENTRY_ARCHIVED"]);

/** What is known of a run so far, for the report of one that cannot be proved. */
interface Findings {
  entries: readonly PlacedEntry[];
  proof: RunProof | null;
}

/**
 * Prove a run: judge its evidence anew, and hold every row of it against what the evidence says. A field
 * that says how it went is never believed.
 *
 * @throws ERR_RUN_NOT_FOUND where neither a row nor an entry is there
 */
export async function proveRun(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<RunProofReport> {
  const found: Findings = { entries: [], proof: null };
  const verdict = await judge(installation, tenantId, runId, found).then(
    () => ({ verification_status: "VERIFIED", failure_reason: null, place: null }) as const,
    verdictOf,
  );
  const trace = traceOf(found);
  const isGoal = found.entries[0]?.entry.data["kind"] === "goal";
  return {
    run_id: runId,
    tenant_id: tenantId,
    integrity: {
      model: isGoal ? "HASH_CHAIN" : "MERKLE_TREE",
      ...rootOf(found),
      ...verdict,
    },
    traces: trace.head === null ? [] : [trace.head],
    steps: [...trace.steps],
    verified_at: installation.clock.now().toISOString(),
  };
}

function traceOf({ entries, proof }: Findings): RunTrace {
  return RunTrace.of(
    entries.map(({ entry }) => entry),
    (trace) => trace.isSealedAs(proof?.trace),
  );
}

type Integrity = RunProofReport["integrity"];

/** @throws what says nothing of the run */
function verdictOf(
  error: unknown,
): Pick<Integrity, "verification_status" | "failure_reason" | "place"> {
  if (error instanceof Difference) {
    const { message: failure_reason, place } = error;
    return { verification_status: "FAILED", failure_reason, place };
  }
  if (!(error instanceof Unsupported)) throw error;
  return { verification_status: "UNSUPPORTED", failure_reason: error.message, place: null };
}

function rootOf({ entries, proof }: Findings): Pick<Integrity, "root_hash" | "chain_length"> {
  if (proof === null) return { root_hash: null, chain_length: entries.length };
  const { trace, root, count } = proof;
  if (trace === undefined) return { root_hash: root, chain_length: count };
  return { root_hash: trace.root_hash, chain_length: trace.chain_length };
}

async function judge(
  installation: Installation,
  tenantId: string,
  runId: string,
  found: Findings,
): Promise<void> {
  const { store, keyLog } = installation;
  await keyLog.refresh();
  const row = await store.findRun(tenantId, runId);
  found.entries = await entriesOf(installation, tenantId, runId);
  const [first] = found.entries;
  if (first === undefined) {
    if (row === null) throw await runNotFound(installation, tenantId, runId);
    throw new Difference("entries", "the ledger has none of this run");
  }
  if (row === null) throw new Difference("runs", "the run's row is gone");
  const isSealed = found.entries.at(-1)?.entry.event_type === "run.sealed";
  requireChain(found.entries, runId);
  if (isSealed) {
    const bundle = await provenBy(installation, row);
    found.proof = proofIn(bundle);
    const named = noncesIn(bundle);
    const nonces = named.map(({ nonce }) => nonce);
    expectNonces(await store.usedNonces(tenantId, nonces), named);
  }
  const admitted = first.entry.data as EntryData<"run.admitted">;
  expectRow(row, admitted, found.proof);
  expectSteps(await store.listSteps(tenantId, runId), found.entries);
  await expectIncidents(store.incidents(tenantId), runId, found.entries);
  expectHolds(await store.budgets(tenantId).holds(runId), found.entries);
  expectUse(await store.budgets(tenantId).use("run", runId, ""), found.entries);
  await expectContents(store.contents(tenantId), found.entries);
  if (admitted.kind === "goal") {
    expectTrace(await store.readTrace(tenantId, runId), traceOf(found), found.proof);
  }
  if (isSealed) return;
  const text = `The run has not ended, so nothing of it is sealed. Go on with: sovereign run resume ${runId} --tenant ${tenantId}`;
  throw new Unsupported(text);
}

/** The run's entries as they stand; hashes and chain are judged afterwards. */
async function entriesOf(
  { store }: Installation,
  tenantId: string,
  runId: string,
): Promise<PlacedEntry[]> {
  const entries: PlacedEntry[] = [];
  try {
    for await (const placed of readRun(store, tenantId, runId)) entries.push(placed);
  } catch (error) {
    if (!isSovereignError(error) || SAYS_NOTHING.has(error.code)) throw error;
    throw new Difference(`entries[${entries.length}]`, error.message);
  }
  return entries;
}

/** Each entry has its hash, and follows the one before. @throws Difference */
function requireChain(entries: readonly PlacedEntry[], runId: string): void {
  let previous = GENESIS_HASH;
  for (const [at, { hash, entry }] of entries.entries()) {
    const { sequence, previous_hash, stream } = entry;
    const follows = sequence === at && previous_hash === previous && stream === runId;
    if (!follows || digestOf(entry) !== hash) {
      throw new Difference(`entries[${at}]`, "the entry is not the one that was recorded here");
    }
    previous = hash;
  }
}

/** The evidence of a sealed run, which the offline verifier judges. @throws Difference, Unsupported */
async function provenBy(
  installation: Installation,
  { tenantId, runId, plan }: RunRow,
): Promise<ComplianceBundle> {
  const { store, id: installationId, keyLog } = installation;
  let bytes: Uint8Array;
  try {
    const about = { installationId, tenantId, runId, plan };
    bytes = await exportBundle({ ledger: store, ...about, readArtifact: null });
  } catch (error) {
    if (error instanceof TypeError) {
      throw new Difference("entries", `an entry is not of its event's form: ${error.message}`);
    }
    if (!isSovereignError(error) || SAYS_NOTHING.has(error.code)) throw error;
    if (error.code !== "ERR_CHECKPOINT_MISSING") {
      // Only the plan is named by what it was expected to be.
      const place = error.details["expected"] === undefined ? "entries" : "runs.plan";
      throw new Difference(place, error.message);
    }
    const text = `${error.message} Its evidence was not published. Type: sovereign run resume ${runId} --tenant ${tenantId}`;
    throw new Unsupported(text);
  }
  const trustRoot = canonicalBytes(keyLog.trustRoot());
  const { steps } = verifyBundle(bytes, { trustRoot, level: "compatible" });
  const failed = steps.find(({ status }) => status !== "PASS" && status !== "NOT_RUN");
  if (failed !== undefined) {
    const { place, message } = failed.first_failure ?? {
      place: failed.name,
      message: failed.status,
    };
    throw new Difference(place, message);
  }
  return parseCanonicalJson(bytes, { bytesMax: bytes.length }) as unknown as ComplianceBundle;
}

function proofIn({ entries, envelopes }: ComplianceBundle): RunProof {
  const { run_proof } = (entries.at(-1)?.entry.data as EntryData<"run.sealed">).envelopes;
  const payload = base64Decode(envelopes[run_proof]?.payload ?? "");
  return parseStatement(payload, "run-proof").predicate;
}
