import {
  type ConfigSnapshot,
  type Envelope,
  fields,
  type JsonObject,
  type KeyLogHead,
} from "@sovereign/core";
import type { Authority } from "../authority/index.ts";
import type { Clock } from "../system/index.ts";
import type { RunPlan } from "./run-plan.ts";

type Digests = Pick<ConfigSnapshot, "config_digest" | "plan_digest" | "policy_digest">;

/** What a run's first entry says, with the signed snapshot of its configuration. */
export async function makeAdmission(
  {
    plan,
    authority,
    clock,
  }: { readonly plan: RunPlan; readonly authority: Authority; readonly clock: Clock },
  digests: Digests,
  keys: KeyLogHead,
): Promise<{
  readonly data: JsonObject;
  readonly envelopes: { readonly config_snapshot: Envelope };
}> {
  const { runId, tenantId, name, mode, config, ballots, caller, installationId } = plan;
  const { kind } = plan.plan;
  // The plan's own word for what it is, so that the evidence can be held to that kind's rules.
  const named = fields.name.safeParse(kind).success ? { kind: kind as string } : {};
  const snapshot = {
    tenant_id: tenantId,
    run_id: runId,
    ...digests,
    mode,
    config,
    ...named,
    ...(ballots === undefined ? {} : { ballots }),
    issued_at: clock.now().toISOString(),
  };
  const subjects = [{ name: runId, sha256: digests.config_digest }];
  const data = {
    name,
    kind: named.kind ?? "pipeline",
    ...(caller === undefined ? {} : { caller }),
    mode,
    installation_id: installationId,
    ...digests,
    key_log: { ...keys },
  };
  const signed = await authority.issue("config-snapshot", subjects, snapshot, "config", null);
  return { data, envelopes: { config_snapshot: signed } };
}
