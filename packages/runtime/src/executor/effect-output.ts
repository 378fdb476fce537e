import type { ArtifactRef, JsonValue } from "@sovereign/core";
import type { EffectResult } from "../kernel/index.ts";
import type { Harvest } from "./workspace.ts";

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
