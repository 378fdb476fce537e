import { join } from "node:path";
import {
  type ArtifactRef,
  type EntryData,
  isSovereignError,
  quoted,
  SovereignError,
} from "@sovereign/core";
import { readRun } from "../../ledger/index.ts";
import { ArtifactStore, hasDocuments } from "../../runs/index.ts";
import type { Installation } from "../../installation/index.ts";
import { runNotFound } from "./run-folder.ts";
import { rest } from "../../system/index.ts";

/** All that one command of a run said. */
export interface RunLog {
  readonly step: string;
  /** The artifact's name in the evidence, and where its file lies. */
  readonly name: string;
  readonly path: string;
  readonly sha256: string;
  /** As the command wrote it: untrusted. */
  readonly bytes: Uint8Array;
}

/** How often the ledger is asked for what is new. */
const LOOK_MS = 1000;
const LOG = /^(?:03_executor\/logs\/([^/]+)\.log|([^/]+)\/(?:stdout|failed\.log))$/;

/**
 * What the commands of a run said, in their order, each held against the digest in the ledger.
 *
 * @param step one command, such as `step_01.test`, or all of a step, such as `step_01`
 * @throws ERR_RUN_NOT_FOUND, ERR_ARTIFACT_CHANGED
 * @throws ERR_LOG_NOT_FOUND where the run has none, or none of that step
 */
export async function readRunLogs(
  installation: Installation,
  tenantId: string,
  runId: string,
  step: string | null,
): Promise<RunLog[]> {
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  const folder = join(installation.folder.run(runId), hasDocuments(row) ? "" : "artifacts");
  const store = new ArtifactStore(folder);
  const found = await logsOf(installation, tenantId, runId);
  const asked = [...found].filter(([of]) => step === null || of === step || isBelow(of, step));
  if (asked.length === 0) throw noLog(runId, step, [...found.keys()]);
  const logs: RunLog[] = [];
  for (const [of, ref] of asked) {
    const bytes = await store.get(ref);
    logs.push({ step: of, name: ref.name, path: store.pathOf(ref), sha256: ref.sha256, bytes });
  }
  return logs;
}

/**
 * The same while the run goes on: each log once it is recorded, which is when its command has ended.
 * Ends when nobody works on the run any more, or when it is cancelled.
 *
 * @param everyMs how long to wait between two looks
 * @throws ERR_RUN_NOT_FOUND, ERR_ARTIFACT_CHANGED
 * @throws ERR_LOG_NOT_FOUND where the run has ended without one
 */
export async function followRunLogs(
  installation: Installation,
  { tenantId, runId, step }: { tenantId: string; runId: string; step: string | null },
  signal: AbortSignal,
  tell: (log: RunLog) => void,
  everyMs: number = LOOK_MS,
): Promise<void> {
  const told = new Set<string>();
  for (;;) {
    // Asked first: what is recorded between the two looks is seen by the second.
    const row = await installation.store.findRun(tenantId, runId);
    const goesOn = row?.status === "running" && !signal.aborted;
    for (const log of await logsSoFar(
      installation,
      tenantId,
      runId,
      step,
      goesOn || told.size > 0,
    )) {
      if (told.has(log.path)) continue;
      told.add(log.path);
      tell(log);
    }
    if (!goesOn) return;
    await rest(everyMs, signal);
  }
}

/** @param mayLack true where it is no failure that there is none */
async function logsSoFar(
  installation: Installation,
  tenantId: string,
  runId: string,
  step: string | null,
  mayLack: boolean,
): Promise<RunLog[]> {
  try {
    return await readRunLogs(installation, tenantId, runId, step);
  } catch (error) {
    if (mayLack && isSovereignError(error, "ERR_LOG_NOT_FOUND")) return [];
    throw error;
  }
}

function isBelow(of: string, step: string): boolean {
  return of.startsWith(`${step}.`);
}

/** By the ledger, which names each by its digest; the last where a step was tried again. */
async function logsOf(
  { store }: Installation,
  tenantId: string,
  runId: string,
): Promise<Map<string, ArtifactRef>> {
  const found = new Map<string, ArtifactRef>();
  for await (const { entry } of readRun(store, tenantId, runId)) {
    const { event_type: event, data } = entry;
    if (event !== "execution.completed" && event !== "evidence.recorded") continue;
    for (const ref of (data as EntryData<"evidence.recorded">).artifacts) {
      const [, command, batch] = LOG.exec(ref.name) ?? [];
      const step = command ?? batch;
      if (step !== undefined) found.set(step, ref);
    }
  }
  return found;
}

function noLog(runId: string, step: string | null, there: readonly string[]): SovereignError {
  const has =
    there.length === 0
      ? `none of its commands ended yet, or it ran none. What it did: sovereign runs show ${runId}`
      : `expected one of ${there.slice(0, 20).join(", ")}`;
  const what = step === null ? "" : ` of ${quoted(step)}`;
  return new SovereignError("ERR_LOG_NOT_FOUND", `Run ${runId} has no output${what}: ${has}`);
}
