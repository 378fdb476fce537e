import type { ApiCaller, ConfigSnapshot, JsonObject, Mode } from "@sovereign/core";

/** What a run is, fixed before anything of it happens. */
export interface RunPlan {
  readonly runId: string;
  readonly tenantId: string;
  readonly name: string;
  readonly mode: Mode;
  readonly installationId: string;
  /** The whole plan as JSON: what `planDigest` is over. */
  readonly plan: JsonObject;
  readonly config: JsonObject;
  readonly policyDigest: string;
  /** Who votes in each ballot, by its name, and the limits that they judge by; null for none. */
  readonly ballots?: ConfigSnapshot["ballots"];
  /** Who submitted it over the network. */
  readonly caller?: ApiCaller;
}
