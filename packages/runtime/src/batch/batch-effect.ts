import { mkdirSync, realpathSync } from "node:fs";
import { fields, parseFormat, sha256Hex } from "@sovereign/core";
import { z } from "zod";
import type { Effect, EffectResult } from "../kernel/index.ts";
import type { ArtifactStore } from "../runs/index.ts";
import { type Mount, type Sandbox, type SandboxResult, usedOf } from "../sandbox/index.ts";

const MEBIBYTE = 1024 * 1024;
const OUTPUT_BYTES_MAX = 16 * MEBIBYTE;

const params = z.strictObject({
  argv: z.array(z.string()),
  cwd: z.literal(""),
  timeout_seconds: fields.count,
});

export interface BatchEffectOptions {
  readonly sandbox: Sandbox;
  readonly artifacts: ArtifactStore;
  /** The batch's own folder: /workspace for its commands, one after another. */
  readonly work: string;
  /** Seen read-only as /input; null for none. */
  readonly input: string | null;
}

/** Run a batch's command in the sandbox; what it printed is kept whole, by digest. */
export function createBatchEffect(options: BatchEffectOptions): Effect {
  return async ({ action, context, signal }) => {
    const wanted = parseFormat(params, action.params, "command action");
    mkdirSync(options.work, { recursive: true, mode: 0o700 });
    const node: Mount = { source: realpathSync(process.execPath), target: "/runtime/node" };
    const input: Mount[] =
      options.input === null ? [] : [{ source: options.input, target: "/input" }];
    const end = await options.sandbox.run(
      {
        argv: [action.resource, ...wanted.argv],
        cwd: "/workspace",
        readOnly: [node, ...input],
        writable: [{ source: options.work, target: "/workspace" }],
        env: { PATH: "/runtime:/usr/bin:/bin" },
        limits: {
          wallMs: wanted.timeout_seconds * 1000,
          cpuSeconds: wanted.timeout_seconds,
          memoryBytes: 2048 * MEBIBYTE,
          processes: 256,
          outputBytes: OUTPUT_BYTES_MAX,
          fileBytes: 1024 * MEBIBYTE,
        },
      },
      signal,
    );
    return resultOf(options.artifacts, context.step_id, end);
  };
}

async function resultOf(
  artifacts: ArtifactStore,
  stepId: string,
  end: SandboxResult,
): Promise<EffectResult> {
  if (end.ended !== "exited" || end.exitCode !== 0) {
    const how = end.ended === "exited" ? `exit ${String(end.exitCode)}` : end.ended;
    const reason = `${how} after ${Math.round(end.wallMs)} ms: ${lastOf(end.stderr)}`;
    const killed = end.ended !== "exited";
    return killed
      ? { status: "killed", code: "ERR_PROGRAM_KILLED", reason }
      : { status: "failed", code: "ERR_PROGRAM_FAILED", reason };
  }
  const kept = await artifacts.put(`${stepId}/stdout`, end.stdout, "application/octet-stream");
  return {
    status: "completed",
    output: { exit_code: 0, stdout: kept.sha256, stderr: sha256Hex(end.stderr), ...usedOf(end) },
    artifacts: [kept],
    usage: { wall_ms: Math.round(end.wallMs), output_bytes: end.stdout.length },
  };
}

/** The end of a hostile log, as one printable line. */
function lastOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(-2000)).toString("utf8");
  return text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(-500);
}
