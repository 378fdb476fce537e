import { type ArtifactRef, fields, type JsonValue } from "@sovereign/core";
import { z } from "zod";
import type { EffectResult } from "../kernel/index.ts";
import type { Harvest } from "./workspace.ts";

/** Git's id of an object. */
export const gitId = fields.gitId;

/** What an operation's outcome says: the tree before it is in its action. */
export const operationOutput = z.looseObject({
  tree: gitId,
  files_changed: fields.count,
  /** Of the files that it changed, those that tools on other machines run; absent for none. */
  ci_files: z.array(z.string()).optional(),
});
export type OperationOutput = z.infer<typeof operationOutput>;

export const commitOutput = z.strictObject({
  commit: gitId,
  parent: gitId,
  tree: gitId,
  patch_sha256: fields.digest,
});
export type CommitOutput = z.infer<typeof commitOutput>;

export const bringBackOutput = z.strictObject({
  base: gitId,
  head: gitId,
  tree: gitId,
  commits: z.array(gitId),
  status_before: fields.digest,
  status_after: fields.digest,
  /** What other programs wrote to files while these were moved, and where that is kept. */
  kept: z.array(z.strictObject({ path: z.string(), kept: z.string() })).optional(),
});
export type BringBackOutput = z.infer<typeof bringBackOutput>;

export function treeOutput(
  harvest: Harvest,
  more: { readonly [key: string]: JsonValue } = {},
  artifacts: readonly ArtifactRef[] = [],
  wallMs = 0,
): EffectResult {
  const { tree, changes, hostRun } = harvest;
  const found = hostRun.length === 0 ? {} : { ci_files: [...hostRun] };
  return completed({ ...more, ...found, tree, files_changed: changes.length }, artifacts, wallMs);
}

export function completed(
  output: JsonValue,
  artifacts: readonly ArtifactRef[] = [],
  wallMs = 0,
): EffectResult {
  const bytes = artifacts.reduce((total, one) => total + one.bytes, 0);
  const usage = { wall_ms: Math.round(wallMs), output_bytes: bytes };
  return { status: "completed", output, artifacts: [...artifacts], usage };
}
