import type { RunRow } from "./ports.ts";

/** True for an execution, and for a rollback: gates judge its documents, which its bundle holds. */
export function hasDocuments({ kind }: Pick<RunRow, "kind">): boolean {
  return ["exec_request", "exec_rollback", "agent"].includes(kind);
}
