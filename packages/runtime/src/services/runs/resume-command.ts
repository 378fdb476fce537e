import type { RunRow } from "../../runs/index.ts";

/** What to type to go on with a run. */
export function resumeCommand({ kind, runId }: Pick<RunRow, "kind" | "runId">): string {
  if (kind === "agent") return `sovereign agent resume ${runId}`;
  return `sovereign ${kind.startsWith("exec_") ? "exec" : "run"} resume ${runId}`;
}
