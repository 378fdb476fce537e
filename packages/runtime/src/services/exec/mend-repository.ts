import { join } from "node:path";
import { ACTIONS, type EntryData, fields, parseFormat } from "@sovereign/core";
import { z } from "zod";
import {
  isWhole,
  type JudgedPatch,
  mendObjects,
  patchName,
  type UserRepository,
} from "../../executor/index.ts";
import { ArtifactStore } from "../../runs/index.ts";
import { readRun } from "../../ledger/index.ts";
import type { FrozenExec } from "./exec-context.ts";
import type { RunOptions } from "../runs/lifecycle.ts";

/** What a run's commits are, and where it brought the branch, as the ledger has it. */
export interface RecordedCommits {
  readonly steps: readonly {
    readonly stepId: string;
    readonly commit: string;
    readonly tree: string;
    readonly sha256: string;
  }[];
  /** Null where the branch was not brought anywhere. */
  readonly broughtTo: string | null;
}

export async function readCommits(
  { installation, tenantId }: Pick<RunOptions, "installation" | "tenantId">,
  runId: string,
): Promise<RecordedCommits> {
  const steps = new Map<string, RecordedCommits["steps"][number]>();
  let broughtTo: string | null = null;
  for await (const { entry } of readRun(installation.store, tenantId, runId)) {
    if (entry.event_type !== "execution.completed") continue;
    const { step_id, output } = entry.data as EntryData<"execution.completed">;
    if (step_id === "bring_back") {
      broughtTo = parseFormat(z.looseObject({ head: fields.gitId }), output, "bring back").head;
    }
    const stepId = /^(.+)\.commit$/.exec(step_id)?.[1];
    if (stepId === undefined) continue;
    const {
      commit,
      tree,
      patch_sha256: sha256,
    } = parseFormat(ACTIONS["git.commit"].output, output, step_id);
    steps.set(stepId, { stepId, commit, tree, sha256 });
  }
  return { steps: [...steps.values()], broughtTo };
}

/**
 * Make sure that the user's repository has all of what a run brought its branch to. What somebody
 * removed is made again, from the run's patches.
 *
 * @throws ERR_REPOSITORY_DAMAGED, ERR_BRING_BACK_MISMATCH, ERR_ARTIFACT_CHANGED
 */
export async function mendBroughtBack(
  { installation }: Pick<RunOptions, "installation">,
  runId: string,
  frozen: FrozenExec,
  repository: UserRepository,
  { steps }: RecordedCommits,
): Promise<void> {
  const { ref, commit, tree } = frozen.plan.repository;
  const head = steps.at(-1)?.commit;
  if (head === undefined || (await isWhole(repository, commit, head))) return;
  const folder = installation.folder.run(runId);
  const store = new ArtifactStore(folder);
  const patches = await Promise.all(
    steps.map(async ({ sha256, ...step }): Promise<JudgedPatch> => {
      const patch = await store.get({ name: patchName(step.stepId), sha256 });
      return { ...step, patch, sha256 };
    }),
  );
  const base = { ref, commit, tree };
  await mendObjects({ repository, base, patches, folder: join(folder, "work"), run: runId });
}
