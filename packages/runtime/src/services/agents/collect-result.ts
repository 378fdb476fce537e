import { join } from "node:path";
import {
  ACTIONS,
  canonicalBytes,
  type Checksums,
  type EntryData,
  evaluateGates,
  type ExecutionResult,
  GATE_DOCUMENTS,
  type GateResult,
  GATES,
  isGateInput,
  type JsonValue,
  parseFormat,
  type PlacedEntry,
  readGateInputs,
  SCHEMA_VERSION,
  SovereignError,
  type StepResult,
} from "@sovereign/core";
import { reopenRepository, waitingChecksums } from "../../executor/index.ts";
import { ArtifactStore, type RunRow } from "../../runs/index.ts";
import { requireOwnFile } from "../../system/index.ts";
import { type FrozenExec, openFrozenExec } from "../exec/exec-context.ts";
import { namedArtifacts } from "../exec/judge-run.ts";
import type { RunOptions } from "../runs/lifecycle.ts";
import { entriesOf } from "./pack-hooks.ts";

type Place = Pick<RunOptions, "installation" | "tenantId">;

/**
 * The result pack of an agent's run: the one that is recorded, or where the result waits, the one that
 * the evidence gives so far.
 *
 * @throws ERR_TOOL_PACK_INVALID where there is none
 */
export async function collectResult(place: Place, row: RunRow): Promise<Uint8Array> {
  const { runId } = row;
  const entries = await entriesOf(place, runId);
  const named = namedArtifacts(entries);
  const folder = place.installation.folder.run(runId);
  const store = new ArtifactStore(folder);
  const recorded = named.findLast((one) => one.name === GATE_DOCUMENTS.resultPack);
  if (recorded !== undefined) return store.get(recorded);
  const contents = await waitingContents(place, row, entries);
  const found = contents === null ? null : (readGateInputs(contents, entries).tool?.found ?? null);
  if (found === null) throw without(runId, row.status);
  return bytesOf(found);
}

/** The gates that judge what a tool was asked, and what came of it. */
export const TOOL_GATE_IDS: readonly string[] = GATES.map((one) => one.id).filter((id) =>
  id.startsWith("TL-"),
);

/**
 * What the gates of tools say of a run whose result waits, as if it ended here.
 * @returns nothing where there is no result
 */
export async function judgeWaiting(place: Place, row: RunRow): Promise<GateResult[]> {
  const entries = await entriesOf(place, row.runId);
  const contents = await waitingContents(place, row, entries);
  if (contents === null) return [];
  const found = readGateInputs(contents, entries).tool?.found ?? null;
  if (found !== null) contents.set(GATE_DOCUMENTS.resultPack, bytesOf(found));
  const { results } = evaluateGates(readGateInputs(contents, entries));
  return results.filter((one) => TOOL_GATE_IDS.includes(one.gate)).map(forWaiting);
}

/** What a result does to the user's branch is known, and proved, once it is brought there. */
function forWaiting(one: GateResult): GateResult {
  if (one.gate !== "TL-B") return one;
  return { ...one, verdict: "not_applicable", message: "the result waits", evidence: [] };
}

/** The documents of a run whose result waits; null where nothing waits. */
async function waitingContents(
  { installation }: Place,
  row: RunRow,
  entries: readonly PlacedEntry[],
): Promise<Map<string, Uint8Array> | null> {
  const { runId } = row;
  const folder = installation.folder.run(runId);
  const store = new ArtifactStore(folder);
  const frozen = await openFrozenExec(folder, row);
  const steps = stepsOf(entries);
  const path = join(folder, GATE_DOCUMENTS.taskPack);
  if (row.sealed !== null || steps.length === 0) return null;
  const contents = new Map<string, Uint8Array>([
    [GATE_DOCUMENTS.taskPack, requireOwnFile(path)],
    [GATE_DOCUMENTS.result, bytesOf(resultOf(row, frozen, steps, entries))],
    [GATE_DOCUMENTS.checksums, bytesOf(await checksumsOf(runId, frozen, steps))],
  ]);
  for (const one of namedArtifacts(entries)) {
    if (isGateInput(one.name, true)) contents.set(one.name, await store.get(one));
  }
  return contents;
}

function bytesOf(value: object): Uint8Array {
  return canonicalBytes(value as JsonValue);
}

/** The commits that wait. */
function stepsOf(entries: readonly PlacedEntry[]): StepResult[] {
  return entries.flatMap(({ entry }) => {
    if (entry.event_type !== "execution.completed") return [];
    const { step_id: id, output } = entry.data as EntryData<"execution.completed">;
    const step = /^(step_\d{2,3})\.commit$/.exec(id)?.[1];
    if (step === undefined) return [];
    const made = parseFormat(ACTIONS["git.commit"].output, output, id);
    return [{ step_id: step, ...made, files_changed: 0, operations: 0 }];
  });
}

/** As it would be said if it ended here. */
function resultOf(
  { runId, mode, createdAt }: RunRow,
  { plan, policy, planned }: FrozenExec,
  steps: StepResult[],
  entries: readonly PlacedEntry[],
): ExecutionResult {
  const { commit, tree } = plan.repository;
  return {
    schema_version: SCHEMA_VERSION,
    exec_request_id: plan.exec_request_id,
    run_id: runId,
    mode,
    status: "success",
    code: null,
    reason: null,
    request_digest: plan.request_digest,
    policy_digest: policy.digest,
    base_commit: commit,
    base_tree: tree,
    head_commit: commit,
    head_tree: tree,
    steps_planned: planned.steps.length,
    steps,
    started_at: createdAt,
    ended_at: entries.at(-1)?.entry.timestamp ?? createdAt,
  };
}

async function checksumsOf(
  runId: string,
  { plan }: FrozenExec,
  steps: readonly StepResult[],
): Promise<Checksums> {
  const { root, commit, tree } = plan.repository;
  const repository = await reopenRepository(root);
  return {
    schema_version: SCHEMA_VERSION,
    run_id: runId,
    base_commit: commit,
    steps: await waitingChecksums(repository, tree, steps),
    evidence: [],
  };
}

function without(runId: string, status: string): SovereignError {
  const text = `Run ${runId} has no result pack: it is ${status}. What it did: sovereign agent log ${runId}`;
  return new SovereignError("ERR_TOOL_PACK_INVALID", text, { runId });
}
