import { SovereignError } from "@sovereign/core";
import type { RunRow } from "../../runs/index.ts";
import { compareKind } from "../agents/compare/compare-kind.ts";
import { agentSessionKind } from "../agents/agent-session-kind.ts";
import { batchKind } from "../batch/batch-kind.ts";
import { resumeExecution } from "../exec/execution-kind.ts";
import { ROLLBACK } from "../exec/rollback-kind.ts";
import { type RunOptions, continueRun } from "./lifecycle.ts";
import { GOAL } from "../goals/goal-kind.ts";
import { PIPELINE } from "./pipeline-kind.ts";
import { runNotFound } from "./run-folder.ts";
import type { RunResult } from "./run-result.ts";

/** Every kind of run, by the word that stands in its row and its first entry. */
const KINDS: Readonly<Record<string, (options: RunOptions, row: RunRow) => Promise<RunResult>>> = {
  pipeline: (options, row) => continueRun(PIPELINE, options, row),
  exec_request: resumeExecution,
  exec_rollback: (options, row) => continueRun(ROLLBACK, options, row),
  batch: (options, row) => continueRun(batchKind(), options, row),
  goal: (options, row) => continueRun(GOAL, options, row),
  agent_compare: (options, row) => continueRun(compareKind(null), options, row),
  agent_session: (options, row) => continueRun(agentSessionKind(null), options, row),
  agent: (_options, { runId }) => Promise.reject(ownCommand(runId)),
};

/** What an agent needs of this machine is known to its own commands. */
function ownCommand(runId: string): SovereignError {
  const text = `Run ${runId} is an agent's work. Type: sovereign agent resume ${runId}`;
  return new SovereignError("ERR_REQUEST_INVALID", text, { runId });
}

/**
 * Go on with a run, of whatever kind.
 * @throws ERR_RUN_NOT_FOUND, ERR_RUN_SEALED, ERR_RUN_DIVERGED
 */
export async function resumeRun(options: RunOptions, runId: string): Promise<RunResult> {
  const { installation, tenantId } = options;
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  const resume = Object.hasOwn(KINDS, row.kind) ? KINDS[row.kind] : undefined;
  if (resume !== undefined) return resume(options, row);
  const text = `Run ${runId} is of the kind ${row.kind}, which this version does not know. A later version began it: go on with that one.`;
  throw new SovereignError("ERR_RUN_DIVERGED", text, { runId });
}
