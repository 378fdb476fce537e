import { assertOpened } from "../installation/index.ts";
import { resumeRun } from "./runs/kinds.ts";
import type { RunOptions } from "./runs/lifecycle.ts";
import { ownOptions, type SessionOptions } from "./runs/open-session.ts";
import { type SubmitOptions, submitPipeline } from "./runs/pipeline-kind.ts";
import type { RunResult } from "./runs/run-result.ts";

/** Taken once: what is asked about the installation here is the one under which the run is carried out. */
function taken<T extends SessionOptions>(options: T): T {
  const own = ownOptions(options);
  assertOpened(own.installation);
  return own;
}

/**
 * {@link submitPipeline}, for programs that embed the runtime.
 * @throws TypeError for an installation that was not opened here
 */
export async function submitOwnPipeline(options: SubmitOptions): Promise<RunResult> {
  return submitPipeline(taken(options));
}

/**
 * {@link resumeRun}, for programs that embed the runtime.
 * @throws TypeError for an installation that was not opened here
 */
export async function resumeOwnRun(options: RunOptions, runId: string): Promise<RunResult> {
  return resumeRun(taken(options), runId);
}
