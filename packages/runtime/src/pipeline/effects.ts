import { type ArtifactRef, type JsonValue, parseFormat } from "@sovereign/core";
import { z } from "zod";
import type { Effect, EffectRegistry, EffectResult } from "../kernel/index.ts";
import type { LedgerReader } from "../ledger/index.ts";
import { createProgramEffect, type ProgramEffectOptions } from "./program-effect.ts";
import type { ModelRegistry } from "./registry/index.ts";

export interface PipelineEffectsOptions extends ProgramEffectOptions {
  readonly registry: ModelRegistry;
  readonly ledger: LedgerReader;
}

const promoteParams = z.strictObject({
  artifact: z.string(),
  sha256: z.string(),
  bytes: z.int(),
  consensus: z.string(),
});
const rollbackParams = z.strictObject({ sha256: z.string() });
const exportParams = z.strictObject({ artifact: z.string(), formats: z.array(z.string()) });

/** What a pipeline's actions do. The kernel alone calls these. */
export function createPipelineEffects(options: PipelineEffectsOptions): EffectRegistry {
  const program = createProgramEffect(options);
  return {
    "data.prepare": program,
    "model.train": program,
    "agent.judge": program,
    "model.promote": promote(options),
    "model.rollback": rollBack(options),
    "evidence.export": exportAudit(options),
  };
}

function promote({ registry, artifacts }: PipelineEffectsOptions): Effect {
  return async ({ action, context, idempotencyKey }) => {
    const params = parseFormat(promoteParams, action.params, "promotion");
    const bytes = await artifacts.get({ name: params.artifact, sha256: params.sha256 });
    const before = await registry.current(action.resource);
    const record = await registry.promote({
      model: action.resource,
      digest: params.sha256,
      bytes,
      expectedCurrent: before?.digest ?? null,
      runId: context.run_id,
      idempotencyKey,
    });
    return completed({ version: record.version, before: record.before, digest: record.digest });
  };
}

function rollBack({ registry }: PipelineEffectsOptions): Effect {
  return async ({ action, context, idempotencyKey }) => {
    const params = parseFormat(rollbackParams, action.params, "rollback");
    const before = await registry.current(action.resource);
    const proof = await registry.rollback({
      model: action.resource,
      toDigest: params.sha256,
      expectedCurrent: before?.digest ?? params.sha256,
      runId: context.run_id,
      idempotencyKey,
    });
    return completed(proof);
  };
}

/** The run's own stream so far, a placed entry in canonical JSON a line. */
function exportAudit({ artifacts, ledger }: PipelineEffectsOptions): Effect {
  return async ({ action, context }) => {
    const { artifact } = parseFormat(exportParams, action.params, "export");
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
  };
}

function completed(output: JsonValue, artifacts: readonly ArtifactRef[] = []): EffectResult {
  const bytes = artifacts.reduce((total, one) => total + one.bytes, 0);
  return { status: "completed", output, artifacts, usage: { wall_ms: 0, output_bytes: bytes } };
}
