import { join } from "node:path";
import { sha256Hex } from "@sovereign/core";
import {
  bringBack,
  type BringBackStep,
  type BroughtBack,
  type JudgedPatch,
} from "../../../src/executor/repository/bring-back.ts";
import { commitMessage, commitTree, type Head, stageAll } from "../../../src/executor/git/index.ts";
import { type TestRepository, workOn } from "./repository.ts";

export const RUN_ID = `run_${"e".repeat(20)}`;

/** Steps that were judged, ready to be brought back. */
export interface Judged {
  readonly head: Head;
  readonly patches: readonly JudgedPatch[];
  bring(onStep?: (step: BringBackStep) => void): Promise<BroughtBack>;
}

/** One commit for each edit of the work tree. */
export async function judgeSteps(
  repository: TestRepository,
  edits: readonly ((tree: string) => void)[],
  notes: string | readonly string[] = "",
): Promise<Judged> {
  const { git, tree, head, user } = await workOn(repository);
  const patches: JudgedPatch[] = [];
  for (const [index, edit] of edits.entries()) {
    edit(tree);
    const stepId = `step_0${index + 1}`;
    const note = typeof notes === "string" ? notes : (notes[index] ?? "");
    const request = { requestId: "exec_req_tests1", requestDigest: "0", runId: RUN_ID };
    const text = { stepId, operations: 1, ...request, note, coAuthors: [] };
    const parent = patches.at(-1)?.commit ?? head.commit;
    const next = await stageAll(git, []);
    const message = commitMessage(text);
    const made = await commitTree(git, { tree: next, parent, message }, 1_700_000_000);
    const { patch, commit, tree: id } = made;
    patches.push({ stepId, patch, sha256: sha256Hex(patch), commit, tree: id });
  }
  const folder = join(repository.private, "bring-back");
  return {
    head,
    patches,
    bring: (onStep) =>
      bringBack({
        repository: user,
        base: head,
        patches,
        folder,
        switchFolder: join(folder, "switch"),
        run: RUN_ID,
        at: 1_800_000_000,
        ...(onStep === undefined ? {} : { onStep }),
      }),
  };
}
