import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { withLook } from "../process/index.ts";
import type { Clock } from "../system/index.ts";
import {
  defineEffect,
  type Effect,
  type EffectResult,
  type TypedInvocation,
} from "../kernel/index.ts";
import type { ArtifactStore } from "../runs/index.ts";
import {
  bringBack,
  type BroughtBack,
  type JudgedPatch,
  mendObjects,
} from "./repository/bring-back.ts";
import { completed } from "./effect-output.ts";
import {
  forbiddenWork,
  commitTree,
  type Head,
  judgePaths,
  readChanges,
  type UserRepository,
} from "./git/index.ts";
import { statusDigest } from "./repository/rollback.ts";
import { keptBy, switchedTo } from "./repository/switch-journal.ts";
import { recoverSwitch } from "./repository/tree-switch.ts";
import { untrackedParts } from "./repository/untracked-parts.ts";
import type { Workspace } from "./workspace.ts";

export interface CommitEffectOptions {
  readonly workspace: Workspace;
  readonly repository: UserRepository;
  readonly base: Head;
  readonly artifacts: ArtifactStore;
  /** The run's folder for what is between the two sides. */
  readonly folder: string;
  readonly clock: Clock;
}

/** The artifact that a step's patch is. */
export function patchName(stepId: string): string {
  return `patches/${stepId}.patch`;
}

/** Commit what a step's operations left, on our side, as a commit and as a patch. */
export function createCommitEffect(options: CommitEffectOptions): Effect {
  const { workspace, artifacts, base } = options;
  return defineEffect("git.commit", async ({ action, params }) => {
    const { tree, parent, message, author, at, ci_files } = params;
    await workspace.judgeWhole(base.tree, tree);
    await workspace.requireNamed(parent, tree, ci_files ?? []);
    const made = await commitTree(workspace.git, { tree, parent, message, author }, at);
    const name = patchName(action.resource);
    const patch = await artifacts.put(name, made.patch, "text/x-patch");
    return completed({ commit: made.commit, parent, tree, patch_sha256: patch.sha256 }, [patch]);
  });
}

/** Bring the patches back to the user's branch. A repeat after a kill ends what was begun. */
export function createBringBackEffect(options: CommitEffectOptions): Effect {
  const { repository, base, artifacts, folder, workspace } = options;
  const bring = async ({
    params: { patches },
    context,
  }: TypedInvocation<"git.bring_back">): Promise<EffectResult> => {
    const judged = await Promise.all(
      patches.map(async ({ step_id, sha256, commit, tree }): Promise<JudgedPatch> => {
        const patch = await artifacts.get({ name: patchName(step_id), sha256 });
        return { stepId: step_id, patch, sha256, commit, tree };
      }),
    );
    const run = context.run_id;
    const recovered = await recoverSwitch(join(folder, "switch"), repository);
    if (recovered !== "done") await requireNoRepository(options, judged);
    const look = (at: string): Promise<string> =>
      statusDigest(workspace.git, repository, at, folder);
    const status_before = recovered === "done" ? null : await look(base.commit);
    const brought =
      recovered === "done"
        ? await already(options, judged, run)
        : await bringBack({
            repository,
            base,
            patches: judged,
            folder: workspace.folder,
            switchFolder: join(folder, "switch"),
            run,
            at: Math.floor(options.clock.now().getTime() / 1000),
          });
    // The branch has moved: what a stop in this moment must not turn into a failure only looks.
    const status_after = await withLook(() => look(brought.head));
    const kept = brought.kept.map((one) => ({ ...one }));
    const output = {
      base: brought.base,
      head: brought.head,
      tree: brought.tree,
      commits: [...brought.commits],
      status_before: status_before ?? status_after,
      status_after,
    };
    return completed(kept.length === 0 ? output : { ...output, kept });
  };
  const told: typeof bring = (invocation) =>
    bring(invocation).catch((error: unknown) => {
      throw forbiddenWork(repository, error);
    });
  // A move that was begun is ended, one way or the other. Where it was done, so is the effect.
  return defineEffect("git.bring_back", told, async (invocation) =>
    (await recoverSwitch(join(folder, "switch"), repository)) === "done" ? bring(invocation) : null,
  );
}

/**
 * The last look, where the tree goes to: what lies there untracked could make a repository of a
 * folder together with what comes back.
 * @throws ERR_CHANGE_REFUSED
 */
async function requireNoRepository(
  { workspace, repository, base }: CommitEffectOptions,
  patches: readonly JudgedPatch[],
): Promise<void> {
  const tree = patches.at(-1)?.tree ?? base.tree;
  const changes = await readChanges(workspace.git, base.tree, tree);
  const paths = changes.filter((one) => one.after !== null).map((one) => one.path);
  const names = new Map(await workspace.namesOf(tree));
  for (const path of untrackedParts(repository.root, paths)) {
    if (!names.has(path)) names.set(path, { kind: "file", target: null });
  }
  judgePaths(names, paths);
}

/** An earlier attempt moved the branch and could not say so. */
async function already(
  { repository, base, workspace, folder }: CommitEffectOptions,
  patches: readonly JudgedPatch[],
  run: string,
): Promise<Omit<BroughtBack, "changes">> {
  await mendObjects({ repository, base, patches, folder: workspace.folder, run });
  const last = patches.at(-1);
  const to = switchedTo(join(folder, "switch"));
  // Where the branch is by now is the user's: what was done is what the journal says.
  if (last === undefined || to !== last.commit) {
    const text = `The branch was brought to ${String(to)}, and not to ${last?.commit ?? base.commit}.`;
    throw new SovereignError("ERR_REPOSITORY_MOVED", text);
  }
  const commits = patches.map((one) => one.commit);
  const kept = keptBy(join(folder, "switch"));
  return { base: base.commit, head: last.commit, tree: last.tree, commits, kept };
}
