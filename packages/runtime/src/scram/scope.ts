import type { ScramScope } from "@sovereign/core";

/** Whose work something is. */
export interface WorkOwner {
  readonly tenant_id: string;
  readonly run_id: string;
}

/** True when a stop of this scope stops that work. */
export function scopeCovers(scope: ScramScope, owner: WorkOwner): boolean {
  if (scope.kind === "all") return true;
  if (scope.kind === "tenant") return scope.tenant_id === owner.tenant_id;
  return scope.run_id === owner.run_id;
}

/** For people: `everything`, `tenant acme`, `run run_…`. */
export function describeScope(scope: ScramScope): string {
  if (scope.kind === "all") return "everything";
  return scope.kind === "tenant" ? `tenant ${scope.tenant_id}` : `run ${scope.run_id}`;
}
