import { join } from "node:path";
import { isSwitchOpen, removeHostile } from "../executor/index.ts";
import type { ExecOptions } from "./exec-context.ts";
import { authorityOf } from "./open-session.ts";
import { type CompiledPolicy, PolicyEngine } from "../policy/index.ts";
import { ArtifactStore, type RunRow } from "../runs/index.ts";
import type { RunResult } from "./run-pipeline.ts";
import { publishBundle } from "./seal-run.ts";

/** Make up for a process that was killed between a run's seal and its bundle. */
export async function publishSealed(
  options: ExecOptions,
  policy: CompiledPolicy,
  { runId, status, reason }: RunRow,
): Promise<RunResult> {
  const { installation } = options;
  const store = new ArtifactStore(installation.folder.run(runId));
  const authority = authorityOf(installation, new PolicyEngine(policy));
  const read = store.get.bind(store);
  const { bundle, trustRoot } = await publishBundle(options, authority, runId, read);
  const ended = status === "completed" ? "completed" : "failed";
  const rest = { outcome: null, code: null, artifacts: [] };
  return { runId, status: ended, reason, bundle, trustRoot, ...rest };
}

/**
 * What the steps worked in is in the patches, and a tree that hostile code wrote is not kept; copies
 * of what could not be put back stay where the message says they are.
 */
export function removeScratch(folder: string): void {
  const scratch = join(folder, "work");
  if (!isSwitchOpen(join(scratch, "switch"))) removeHostile(scratch);
}
