import {
  type ArtifactRef,
  digestOf,
  type EntryData,
  Frontier,
  type JsonObject,
  type LedgerEntry,
  leafHash,
  parseCanonicalJson,
  type RunProof,
  RunTrace,
  type Severity,
} from "@sovereign/core";
import type { LedgerReader, StoredEntry } from "../ledger/index.ts";
import type { RunStore, StepRow, StoredTraceStep } from "./ports.ts";

/** What stands in the ledger of a run, of this process and of earlier ones. */
interface RecordedRun {
  /** RFC 6962 root over its entries, in hex. */
  readonly root: string;
  readonly artifacts: readonly ArtifactRef[];
  readonly entries: readonly StoredEntry[];
  readonly trace: RunTrace;
  /** Each step, attempt and action that was authorised. */
  readonly authorised: ReadonlySet<string>;
}

async function readRecorded(
  ledger: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
): Promise<RecordedRun> {
  const frontier = new Frontier();
  const artifacts: ArtifactRef[] = [];
  const authorised = new Set<string>();
  const trace = new RunTrace();
  const entries: StoredEntry[] = [];
  for await (const stored of ledger.readStream(tenantId, runId)) {
    const { bytes } = stored;
    entries.push(stored);
    frontier.append(leafHash(bytes));
    const entry = parseCanonicalJson(bytes) as unknown as LedgerEntry;
    trace.keep(trace.follow(entry));
    const { event_type: event, data } = entry;
    if (event === "execution.completed" || event === "evidence.recorded") {
      const { artifacts: more } = data as EntryData<"evidence.recorded">;
      for (const one of more) artifacts.push(one);
    }
    if (event === "execution.authorized") {
      const { context, action_digest } = data as EntryData<"execution.authorized">;
      authorised.add(placeOf(context.step_id, context.attempt, action_digest));
    }
  }
  const root = Buffer.from(frontier.root()).toString("hex");
  return { root, artifacts, entries, trace, authorised };
}

/** The same for a run whose steps are kept as rows, with the trace that those are of. */
async function readTraced(
  store: Pick<RunStore, "readStream" | "readTrace">,
  tenantId: string,
  runId: string,
): Promise<RecordedRun> {
  const recorded = await readRecorded(store, tenantId, runId);
  const { steps } = await store.readTrace(tenantId, runId);
  const fits = (trace: RunTrace): boolean => differingRow(steps, trace) === null;
  if (fits(recorded.trace)) return recorded;
  // An earlier version may have begun the run, and have made other steps of the same entries.
  const entries = recorded.entries.map(
    ({ bytes }) => parseCanonicalJson(bytes) as unknown as LedgerEntry,
  );
  return { ...recorded, trace: RunTrace.of(entries, fits) };
}

/** How a run ends, and why. */
interface RunEnd {
  readonly status: RunProof["status"];
  readonly reason: string | null;
}

/**
 * What is recorded of a run, before it is sealed.
 *
 * INVARIANT: where a step ran without its authorisation in the ledger, the run is halted.
 *
 * @param known the steps that this process had authorised, or took over
 * @param asked how it would end
 * @param note records what was found
 */
export async function readGuarded(
  store: RunStore,
  {
    tenantId,
    runId,
    plan,
  }: { readonly tenantId: string; readonly runId: string; readonly plan: JsonObject },
  known: readonly StepRow[],
  asked: RunEnd,
  note: (event: string, severity: Severity, data: JsonObject) => Promise<void>,
): Promise<RecordedRun & RunEnd> {
  const read = isTraced(plan) ? readTraced : readRecorded;
  const recorded = await read(store, tenantId, runId);
  const gap = await findGap(store, { tenantId, runId }, recorded, known, isTraced(plan));
  if (gap === null) return { ...recorded, ...asked };
  const { stepId: step_id, summary } = gap;
  const data = { kind: "enforcement", code: "ERR_ENFORCEMENT_MISSING", summary, step_id };
  await note("incident.raised", "CRITICAL", data);
  const after = await read(store, tenantId, runId);
  return { ...after, status: "halted", reason: summary };
}

/** Something that ran, and of which the ledger has no authorisation; or a row that is not the ledger's. */
interface EnforcementGap {
  readonly stepId: string;
  readonly summary: string;
}

/**
 * The enforcement guard: each step that ran has its authorisation in the ledger, as it stands there
 * now. What ran is what this process knows, and what the rows say.
 *
 * @param known the steps that this process had authorised or took over
 * @returns the first gap; null where there is none
 */
async function findGap(
  store: Pick<RunStore, "listSteps" | "readTrace">,
  { tenantId, runId }: { readonly tenantId: string; readonly runId: string },
  { authorised, trace }: RecordedRun,
  known: Iterable<StepRow>,
  traced: boolean,
): Promise<EnforcementGap | null> {
  const rows = [...known, ...(await store.listSteps(tenantId, runId))];
  const ran = rows.find(
    ({ status, stepId, attempt, actionDigest }) =>
      status !== "refused" && !authorised.has(placeOf(stepId, attempt, actionDigest)),
  );
  if (ran !== undefined) return gapOf(ran.stepId, ran.attempt);
  if (!traced) return null;
  const { steps } = await store.readTrace(tenantId, runId);
  const unauthorised = steps.find(
    (row) =>
      row.begun_by !== null &&
      !authorised.has(placeOf(row.step_id, row.attempt, row.action_digest ?? "")),
  );
  if (unauthorised !== undefined) return gapOf(unauthorised.step_id, unauthorised.attempt);
  return differingRow(steps, trace);
}

function gapOf(stepId: string, attempt: number): EnforcementGap {
  const summary = `attempt ${attempt} of the step ${stepId} ran, and the ledger has no authorisation of it`;
  return { stepId, summary };
}

/** No run ends well with a step that its rows do not have, or have otherwise. */
function differingRow(
  rows: readonly StoredTraceStep[],
  { steps }: Pick<RunTrace, "steps">,
): EnforcementGap | null {
  const [found, made] = [rows.map(inShort), steps.map(inShort)];
  const at = Array.from({ length: Math.max(rows.length, steps.length) }, (_, index) => index).find(
    (index) => found[index] !== made[index],
  );
  if (at === undefined) return null;
  const stepId = (steps[at] ?? rows[at])?.step_id ?? "";
  const summary = `row ${at} of the trace, step ${stepId}, is not what the ledger says`;
  return { stepId, summary };
}

function inShort(row: Pick<StoredTraceStep, "step_id" | "status" | "output_digest">): string {
  return [row.step_id, row.status, row.output_digest ?? ""].join(" ");
}

function placeOf(stepId: string, attempt: number, actionDigest: string): string {
  return digestOf([stepId, attempt, actionDigest]);
}

/** True for runs whose steps are kept as rows and sealed as a chain of their own. */
export function isTraced(plan: { readonly kind?: unknown }): boolean {
  return plan.kind === "goal";
}

/** The trace of a run that another process began. */
export async function readRunTrace(
  store: Pick<RunStore, "readStream" | "readTrace">,
  tenantId: string,
  runId: string,
): Promise<RunTrace> {
  return (await readTraced(store, tenantId, runId)).trace;
}
