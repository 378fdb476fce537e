import {
  base64Decode,
  canonicalize,
  type ComplianceBundle,
  cutText,
  type EntryData,
  isSovereignError,
  parseStrictJson,
  type PlacedEntry,
  type RunProof,
  type RunTrace,
  sha256Hex,
  type TraceStep,
  traceSealOf,
  utf8Encode,
} from "@sovereign/core";
import {
  type ContentStore,
  type RunRow,
  type StepRow,
  stepsOf,
  type StoredTrace,
  type StoredTraceStep,
} from "../../runs/index.ts";

/** The first difference between a run's rows and its evidence, and where it is. */
export class Difference extends Error {
  override readonly name = "Difference";
  readonly place: string;

  constructor(place: string, found: string) {
    super(found);
    this.place = place;
  }
}

/** @throws Difference where a column of the run's row is not what the evidence says */
export function expectRow(
  row: RunRow,
  admitted: EntryData<"run.admitted">,
  proof: RunProof | null,
): void {
  expectSame("runs.name", row.name, admitted.name);
  expectSame("runs.mode", row.mode, admitted.mode);
  if (admitted.kind !== undefined) expectSame("runs.kind", row.kind, admitted.kind);
  expectSame("runs.plan_digest", row.planDigest, admitted.plan_digest);
  expectSame("runs.plan", sha256Hex(row.plan), admitted.plan_digest);
  if (proof === null) {
    const open = ["queued", "running", "pending"].includes(row.status);
    if (!open) throw differs("runs.status", row.status, "queued, running or pending");
    expectSame("runs.sealed_count", row.sealed?.count ?? null, null);
    return;
  }
  expectSame("runs.status", row.status, proof.status);
  const reason = row.reason === null ? null : cutText(row.reason, 2000);
  expectSame("runs.reason", reason, proof.reason);
  expectSame("runs.sealed_count", row.sealed?.count ?? null, proof.count);
  expectSame("runs.sealed_hash", row.sealed?.hash ?? null, proof.head);
}

/** @throws Difference where a row of `steps` is not what the entries say */
export function expectSteps(rows: readonly StepRow[], entries: readonly PlacedEntry[]): void {
  const expected = readSteps(entries);
  for (const step of expected) {
    const place = `steps[${step.stepId}]`;
    const row = rows.find(({ stepId }) => stepId === step.stepId);
    if (row === undefined) throw new Difference(place, "the row is gone");
    expectSame(`${place}.status`, row.status, step.status);
    expectSame(`${place}.attempt`, row.attempt, step.attempt);
    expectSame(`${place}.action_digest`, row.actionDigest, step.actionDigest);
    expectSame(`${place}.output`, textOf(row.output), textOf(step.output));
  }
  const added = rows.find((row) => !expected.some(({ stepId }) => stepId === row.stepId));
  if (added !== undefined) throw new Difference(`steps[${added.stepId}]`, "no entry speaks of it");
}

function readSteps(entries: readonly PlacedEntry[]): StepRow[] {
  try {
    return stepsOf(entries.map(({ entry }) => entry));
  } catch (error) {
    if (!isSovereignError(error, "ERR_RUN_DIVERGED")) throw error;
    throw new Difference("entries", error.message);
  }
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("latin1");
}

/**
 * @param proof the signed proof of a sealed run
 * @throws Difference where the trace's rows are not what the entries say, or do not come to the root
 *   that was sealed
 */
export function expectTrace(
  { heads, steps }: StoredTrace,
  trace: RunTrace,
  proof: RunProof | null,
): void {
  const { head } = trace;
  const own = heads.find(({ trace_id }) => trace_id === head?.trace_id);
  if (head === null || own === undefined) throw new Difference("traces", "the trace's row is gone");
  if (heads.length > 1) throw new Difference("traces", "the run has a second trace");
  for (const [name, expected] of Object.entries(head)) {
    expectSame(`traces.${name}`, own[name as keyof typeof own], expected);
  }
  for (const step of trace.steps) expectStep(steps, step);
  const stray = steps.find(
    (row) => row.trace_id !== head.trace_id || row.index >= trace.steps.length,
  );
  if (stray !== undefined) {
    throw new Difference(`trace_steps[${stray.index}]`, `no entry speaks of it (${stray.step_id})`);
  }
  if (proof?.trace === undefined) return;
  const { root_hash } = traceSealOf(head, steps.map(canonicalStep));
  expectSame("trace_steps", root_hash, proof.trace.root_hash);
}

/**
 * @param used the nonces that the database keeps as used, with the time until which each is kept
 * @throws Difference where what permitted a step of the run could permit it again
 */
export function expectNonces(used: ReadonlyMap<string, string>, named: readonly UsedUp[]): void {
  for (const { nonce, expires_at } of named) {
    const place = `nonces[${nonce}]`;
    if (!used.has(nonce)) throw new Difference(place, "the row is gone");
    expectSame(`${place}.expires_at`, used.get(nonce), expires_at);
  }
}

/**
 * Contents that are not there are no difference: which place of contents has them, no entry says.
 * @throws Difference where the database has other bytes under the name of an artifact
 */
export async function expectContents(
  contents: ContentStore,
  entries: readonly PlacedEntry[],
): Promise<void> {
  const digests = new Set<string>();
  for (const { entry } of entries) {
    if (entry.event_type !== "execution.completed" && entry.event_type !== "evidence.recorded")
      continue;
    const { artifacts } = entry.data as EntryData<"evidence.recorded">;
    for (const { sha256 } of artifacts) digests.add(sha256);
  }
  for (const digest of digests) {
    const bytes = await contents.get(digest);
    if (bytes === null || sha256Hex(bytes) === digest) continue;
    throw new Difference(`contents[${digest}]`, "the bytes have another digest");
  }
}

/** What a signed permission says of its use. */
interface UsedUp {
  readonly nonce: string;
  readonly expires_at: string;
}

/** The nonces of each permission that a run used: role signature, binding and approvals of each step. */
export function noncesIn({
  entries,
  envelopes,
}: Pick<ComplianceBundle, "entries" | "envelopes">): UsedUp[] {
  return entries.flatMap(({ entry: { event_type: event, data } }) => {
    if (event !== "execution.authorized") return [];
    const named = Object.values((data["envelopes"] ?? {}) as Record<string, string>);
    return named.map((digest) => {
      const statement = parseStrictJson(base64Decode(envelopes[digest]?.payload ?? ""));
      return (statement as unknown as { readonly predicate: UsedUp }).predicate;
    });
  });
}

function expectStep(rows: readonly StoredTraceStep[], step: TraceStep): void {
  const place = `trace_steps[${step.index}]`;
  const row = rows.find((one) => one.index === step.index && one.trace_id === step.trace_id);
  if (row === undefined) throw new Difference(place, `the row of ${step.step_id} is gone`);
  const { input, output, artifacts, ...plain } = step;
  for (const [name, expected] of Object.entries(plain)) {
    expectSame(`${place}.${name}`, row[name as keyof typeof row], expected);
  }
  expectSame(`${place}.input`, row.input, canonicalize(input));
  expectSame(`${place}.output`, row.output, canonicalize(output));
  expectSame(`${place}.artifacts`, row.artifacts, canonicalize(artifacts));
}

/** The whole step that a row stands for. */
function canonicalStep({ input, output, artifacts, ...row }: StoredTraceStep): TraceStep {
  const read = (text: string): unknown => parseStrictJson(utf8Encode(text));
  const values = { input: read(input), output: read(output), artifacts: read(artifacts) };
  return { ...row, ...values } as TraceStep;
}

function expectSame(place: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw differs(place, found, expected);
}

function differs(place: string, found: unknown, expected: unknown): Difference {
  const shown = (value: unknown): string => cutText(String(value), 100);
  return new Difference(
    place,
    `the row says ${shown(found)}; the evidence says ${shown(expected)}`,
  );
}
