import { realpathSync } from "node:fs";
import { type ActionParams, sha256Hex, SovereignError } from "@sovereign/core";
import { defineEffect, type Effect, type EffectResult } from "../kernel/index.ts";
import { type ArtifactStore, type FailedLog, keepFailedLog } from "../runs/index.ts";
import { type Mount, type Sandbox, type SandboxResult, usedOf } from "../sandbox/index.ts";
import { makeOwnFolder } from "../system/index.ts";

const MEBIBYTE = 1024 * 1024;
const OUTPUT_BYTES_MAX = 16 * MEBIBYTE;

export interface BatchEffectOptions {
  readonly sandbox: Sandbox;
  readonly artifacts: ArtifactStore;
  /** The batch's own folder: /workspace for its commands, one after another. */
  readonly work: string;
  /** Seen read-only as /input; null for none. */
  readonly input: string | null;
  readonly onFailedLog?: (log: FailedLog) => void;
}

/** Run a batch's command in the sandbox; what it printed is kept whole, by digest. */
export function createBatchEffect(options: BatchEffectOptions): Effect {
  return defineEffect("command.run", async ({ action, context, signal, params: wanted }) => {
    const seconds = secondsOf(wanted);
    makeOwnFolder(options.work);
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
          wallMs: seconds * 1000,
          cpuSeconds: seconds,
          memoryBytes: 2048 * MEBIBYTE,
          processes: 256,
          outputBytes: OUTPUT_BYTES_MAX,
          fileBytes: 1024 * MEBIBYTE,
        },
      },
      signal,
    );
    if (end.ended !== "exited" || end.exitCode !== 0) {
      const { artifacts } = options;
      options.onFailedLog?.(await keepFailedLog(artifacts, context.step_id, end, OUTPUT_BYTES_MAX));
    }
    return resultOf(options.artifacts, context.step_id, end);
  });
}

/** A batch's command runs in the batch's folder, on no tree, for as long as it says. */
function secondsOf({ cwd, before, timeout_seconds }: ActionParams<"command.run">): number {
  if (cwd === "" && before === undefined && timeout_seconds !== undefined) return timeout_seconds;
  const text = "command.run action: expected timeout_seconds, an empty cwd and no tree";
  throw new SovereignError("ERR_FORMAT_INVALID", text);
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
