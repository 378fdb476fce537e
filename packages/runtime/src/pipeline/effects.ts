import type { ArtifactRef, JsonValue } from "@sovereign/core";
import {
  defineEffect,
  type Effect,
  type EffectRegistry,
  type EffectResult,
  type TypedInvocation,
} from "../kernel/index.ts";
import type { LedgerReader } from "../ledger/index.ts";
import { createProgramEffect, type ProgramEffectOptions } from "./program-effect.ts";
import type { ModelRegistry, VersionRecord } from "./registry/index.ts";

export interface PipelineEffectsOptions extends ProgramEffectOptions {
  readonly registry: ModelRegistry;
  readonly ledger: LedgerReader;
}

/** What a pipeline's actions do. The kernel alone calls these. */
export function createPipelineEffects(options: PipelineEffectsOptions): EffectRegistry {
  return {
    "data.prepare": createProgramEffect("data.prepare", options),
    "model.train": createProgramEffect("model.train", options),
    "agent.judge": createProgramEffect("agent.judge", options),
    "model.promote": promote(options),
    "model.rollback": rollBack(options),
    "evidence.export": exportAudit(options),
  };
}

function promote({ registry, artifacts }: PipelineEffectsOptions): Effect {
  const done = (record: VersionRecord): EffectResult => {
    const { model, version, before, digest } = record;
    return completed({ model, version, before, digest });
  };
  return defineEffect(
    "model.promote",
    async ({ action, context, idempotencyKey, params }) => {
      const bytes = await artifacts.get({ name: params.artifact, sha256: params.sha256 });
      const record = await registry.promote({
        model: action.resource,
        digest: params.sha256,
        bytes,
        ...(await expectedOf(registry, action.resource, params.replaces)),
        runId: context.run_id,
        idempotencyKey,
      });
      return done(record);
    },
    async ({ action, idempotencyKey }) => {
      const record = await registry.find(action.resource, idempotencyKey);
      return record === null ? null : done(record);
    },
  );
}

function rollBack({ registry }: PipelineEffectsOptions): Effect {
  const work = async (invocation: TypedInvocation<"model.rollback">): Promise<EffectResult> => {
    const { action, context, idempotencyKey, params } = invocation;
    const expected = await expectedOf(registry, action.resource, params.replaces);
    const proof = await registry.rollback({
      model: action.resource,
      toDigest: params.sha256,
      ...expected,
      expectedCurrent: expected.expectedCurrent ?? params.sha256,
      runId: context.run_id,
      idempotencyKey,
    });
    return completed(proof);
  };
  return defineEffect("model.rollback", work, async (invocation) => {
    const { action, idempotencyKey } = invocation;
    const record = await registry.find(action.resource, idempotencyKey);
    // The switch is there: to ask for it again proves it, and switches nothing.
    return record === null ? null : work(invocation);
  });
}

/** What must be current now: what the action names, or for actions of before what is. */
async function expectedOf(
  registry: ModelRegistry,
  model: string,
  named: { version: number; sha256: string } | null | undefined,
): Promise<{ expectedCurrent: string | null; expectedVersion?: number }> {
  if (named === undefined) {
    return { expectedCurrent: (await registry.current(model))?.digest ?? null };
  }
  return { expectedCurrent: named?.sha256 ?? null, expectedVersion: named?.version ?? 0 };
}

/** The run's own stream so far, a placed entry in canonical JSON a line. */
function exportAudit({ artifacts, ledger }: PipelineEffectsOptions): Effect {
  return defineEffect("evidence.export", async ({ params, context }) => {
    const { artifact } = params;
    const lines: string[] = [];
    for await (const { index, hash, bytes } of ledger.readStream(
      context.tenant_id,
      context.run_id,
    )) {
      // The keys stand in canonical order, and the entry's bytes are canonical already.
      const entry = Buffer.from(bytes).toString("utf8");
      lines.push(`{"entry":${entry},"hash":"${hash}","index":${index}}\n`);
    }
    const bytes = Buffer.from(lines.join(""), "utf8");
    const ref = await artifacts.put(artifact, bytes, "application/jsonl");
    return completed({ entries: lines.length }, [ref]);
  });
}

function completed(output: JsonValue, artifacts: readonly ArtifactRef[] = []): EffectResult {
  const bytes = artifacts.reduce((total, one) => total + one.bytes, 0);
  return { status: "completed", output, artifacts, usage: { wall_ms: 0, output_bytes: bytes } };
}
