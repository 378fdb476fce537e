import { type JsonObject, type JsonValue, parseCanonicalJson } from "@sovereign/core";
import type { RunRow } from "./ports.ts";

/** True for the run of a request, and for a rollback, by its plan. */
export function isExecution(row: RunRow): boolean {
  return kindOf(row) === "exec_request" || isRollback(row);
}

/** True for a batch of commands. */
export function isBatch(row: RunRow): boolean {
  return kindOf(row) === "batch";
}

/** True for the run that undoes another. */
export function isRollback(row: RunRow): boolean {
  return kindOf(row) === "exec_rollback";
}

/** As the plan says; a pipeline's says nothing. */
export function kindOf({ plan }: RunRow): JsonValue {
  return (parseCanonicalJson(plan) as JsonObject)["kind"] ?? "pipeline";
}
