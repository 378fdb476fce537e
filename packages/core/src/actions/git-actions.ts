import { z } from "zod";
import { fields } from "../formats/index.ts";
import type { ActionDeclaration } from "./declaration.ts";

const { gitId } = fields;
/** What other programs wrote to files while these were moved, and where that is kept. */
const kept = z.array(z.strictObject({ path: z.string(), kept: z.string() })).optional();

export const GIT_ACTIONS = {
  "git.commit": {
    text: "Commit what a step's operations left, on our side.",
    params: z.strictObject({
      tree: gitId,
      parent: gitId,
      message: z.string().max(20_000),
      /** Seconds since 1970. */
      at: z.int(),
      /** `Name <address>`; absent for the executor. */
      author: z.string().max(400).optional(),
      /** Files that tools on other machines run: policy decides on them once more by these names. */
      ci_files: z.array(z.string()).optional(),
    }),
    output: z.strictObject({
      commit: gitId,
      parent: gitId,
      tree: gitId,
      patch_sha256: fields.digest,
    }),
    policy: { matches: "resource", hostRunFiles: "ci_files", words: ["git_commit"] },
    repeats: "again",
    // Every step ends in one commit, whether the request says so or not.
    request: { words: ["git_add", "git_commit", "git.add"], plan: null },
  },
  "git.bring_back": {
    text: "Bring a run's patches to the user's branch.",
    params: z.strictObject({
      request_digest: fields.digest,
      review: z.boolean(),
      base: gitId,
      patches: z.array(
        z.strictObject({
          step_id: z.string(),
          sha256: fields.digest,
          bytes: fields.count,
          commit: gitId,
          tree: gitId,
        }),
      ),
    }),
    output: z.strictObject({
      base: gitId,
      head: gitId,
      tree: gitId,
      commits: z.array(gitId),
      status_before: fields.digest,
      status_after: fields.digest,
      kept,
    }),
    // A commit on our side is worth nothing without its way to the user's branch, and back.
    policy: { matches: "resource", words: ["git_commit"] },
    repeats: "recalled",
    request: null,
  },
  "git.rollback": {
    text: "Bring the user's branch back to where a run began.",
    params: z.strictObject({
      of_run: fields.runId,
      ref: z.string().nullable(),
      base: gitId,
      head: gitId,
    }),
    output: z.strictObject({
      base: gitId,
      head: gitId,
      tree: gitId,
      files_changed: fields.count,
      kept,
    }),
    policy: { matches: "resource", words: ["git_commit"] },
    repeats: "again",
    request: null,
  },
} as const satisfies Readonly<Record<string, ActionDeclaration>>;
