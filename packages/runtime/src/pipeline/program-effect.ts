import { existsSync, realpathSync } from "node:fs";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  type ActionParams,
  type ArtifactRef,
  canonicalBytes,
  canonicalSize,
  digestOf,
  SovereignError,
  quoted,
} from "@sovereign/core";
import { defineEffect, type Effect, type EffectResult, type Invocation } from "../kernel/index.ts";
import { type ArtifactStore, type FailedLog, keepFailedLog, readHarvest } from "../runs/index.ts";
import { type Mount, usedOf } from "../sandbox/index.ts";
import { digestTree } from "./frozen.ts";
import type { ProgramEnd, ProgramSandbox } from "./ports.ts";
import { checkProgramOutput } from "./program-output.ts";
import type { ProgramRequest, ProgramTask } from "./program-task.ts";

type ProgramType = "data.prepare" | "model.train" | "agent.judge";
export type ProgramParams = ActionParams<ProgramType>;

export interface ProgramEffectOptions {
  readonly sandbox: ProgramSandbox;
  readonly artifacts: ArtifactStore;
  /** The frozen programs. */
  readonly programs: string;
  /** The folder of libraries that programs may import, or null. */
  readonly modules: string | null;
  /** A scratch folder of the run. */
  readonly scratch: string;
  readonly onFailedLog?: (log: FailedLog) => void;
}

/** How much of a program's log is kept with a failure. */
const LOG_CHARS = 1000;
/** A summary above this goes by digest alone, so that the ledger entry stays small. */
const SUMMARY_BYTES_MAX = 16 * 1024;

/**
 * The effect that runs one program in the sandbox. Programs and inputs are copied and hashed
 * first, so that what runs is what was authorised; outputs are taken only where declared.
 */
export function createProgramEffect(type: ProgramType, options: ProgramEffectOptions): Effect {
  return defineEffect(type, async (invocation) => {
    const { params } = invocation;
    const stage = join(options.scratch, invocation.context.step_id);
    await rm(stage, { recursive: true, force: true });
    try {
      await prepare(options, params, stage);
      const end = await launch(options, params, invocation, stage);
      const failure = failureOf(end);
      if (failure !== null) {
        const { artifacts } = options;
        const { output_bytes: most } = params.limits;
        options.onFailedLog?.(
          await keepFailedLog(artifacts, invocation.context.step_id, end, most),
        );
        return failure;
      }
      return await harvest(options, params, invocation, stage, end);
    } finally {
      await rm(stage, { recursive: true, force: true });
    }
  });
}

async function prepare(
  options: ProgramEffectOptions,
  params: ProgramParams,
  stage: string,
): Promise<void> {
  await mkdir(join(stage, "input"), { recursive: true, mode: 0o700 });
  await mkdir(join(stage, "output"), { mode: 0o700 });
  await cp(options.programs, join(stage, "program"), { recursive: true });
  const found = digestOf(await digestTree(join(stage, "program")));
  if (found !== params.programs_digest) {
    throw new SovereignError(
      "ERR_PROGRAM_CHANGED",
      `The programs should have the digest ${params.programs_digest}; they have ${found}.`,
    );
  }
  for (const [name, input] of Object.entries(params.inputs)) {
    const bytes = await options.artifacts.get({ name: input.artifact, sha256: input.sha256 });
    await writeFile(join(stage, "input", name), bytes, { mode: 0o600 });
  }
}

function launch(
  options: ProgramEffectOptions,
  params: ProgramParams,
  invocation: Invocation,
  stage: string,
): Promise<ProgramEnd> {
  const node = realpathSync(process.execPath);
  const inputs = Object.entries(params.inputs);
  const modules: Mount[] =
    options.modules === null ? [] : [{ source: options.modules, target: "/node_modules" }];
  const { limits } = params;
  return options.sandbox.run(
    {
      argv: [
        "/runtime/node",
        "--disable-warning=ExperimentalWarning",
        `/program/${params.program}`,
      ],
      cwd: "/output",
      readOnly: [
        { source: node, target: "/runtime/node" },
        { source: join(stage, "program"), target: "/program", own: true },
        ...(inputs.length === 0
          ? []
          : [{ source: join(stage, "input"), target: "/input", own: true }]),
        ...modules,
      ],
      writable: [{ source: join(stage, "output"), target: "/output" }],
      env: {},
      stdin: canonicalBytes(requestOf(params, invocation)),
      limits: {
        wallMs: limits.wall_ms,
        cpuSeconds: limits.cpu_seconds,
        memoryBytes: limits.memory_bytes,
        processes: limits.processes,
        outputBytes: limits.output_bytes,
        fileBytes: limits.file_bytes,
      },
    },
    invocation.signal,
  );
}

function failureOf(end: ProgramEnd): EffectResult | null {
  if (end.ended === "exited" && end.exitCode === 0) return null;
  const log = lastOf(end.stderr);
  if (end.ended === "exited") {
    const reason = `exit ${String(end.exitCode)}: ${log}`;
    return { status: "failed", code: "ERR_PROGRAM_FAILED", reason };
  }
  const how = end.signal === null ? end.ended : `${end.ended} ${end.signal}`;
  const code = end.ended === "cancelled" ? "ERR_EFFECT_KILLED" : "ERR_PROGRAM_KILLED";
  const reason = `${how} after ${Math.round(end.wallMs)} ms: ${log}`;
  return { status: "killed", code, reason };
}

async function harvest(
  options: ProgramEffectOptions,
  params: ProgramParams,
  invocation: Invocation,
  stage: string,
  end: ProgramEnd,
): Promise<EffectResult> {
  const folder = join(stage, "output");
  const files = new Map<string, Uint8Array>();
  for (const name of await readdir(folder)) {
    if (!Object.hasOwn(params.outputs, name)) {
      const text = `The program left the output ${quoted(name)}, which is not declared.`;
      throw new SovereignError("ERR_OUTPUT_REFUSED", text);
    }
    files.set(name, await readHarvest(join(folder, name)));
  }
  const task = taskOf(params, invocation);
  const request = requestOf(params, invocation);
  const checked = checkProgramOutput(task, request, files);
  const artifacts: ArtifactRef[] = [];
  for (const { name } of checked.files) {
    const bytes = files.get(name) ?? new Uint8Array();
    artifacts.push(
      await options.artifacts.put(params.outputs[name] ?? name, bytes, mediaTypeOf(name)),
    );
  }
  const { summary } = checked.result;
  return {
    status: "completed",
    output: {
      summary: canonicalSize(summary) > SUMMARY_BYTES_MAX ? null : summary,
      summary_digest: digestOf(summary),
      ...usedOf(end),
    },
    artifacts,
    usage: {
      wall_ms: Math.round(end.wallMs),
      output_bytes: artifacts.reduce((total, one) => total + one.bytes, 0),
    },
  };
}

/** The task in the words of the output check: what was declared is what must be there. */
function taskOf(params: ProgramParams, { context }: Invocation): ProgramTask {
  return {
    stepId: context.step_id,
    stage: context.step_id,
    role: context.role,
    program: params.program,
    inputs: {},
    params: params.params,
    limits: params.limits,
    outputs: Object.keys(params.outputs).filter((name) => name !== "result.json"),
  };
}

function requestOf(params: ProgramParams, { context }: Invocation): ProgramRequest {
  const inputs = Object.entries(params.inputs);
  return {
    stage: context.step_id,
    seed: params.seed,
    params: params.params,
    inputs: Object.fromEntries(
      inputs.map(([name, { sha256 }]) => [name, { path: `/input/${name}`, sha256 }]),
    ),
    output: "/output",
  };
}

/** The end of a hostile log, as one printable line. */
function lastOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString("utf8").toWellFormed();
  return text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(-LOG_CHARS);
}

function mediaTypeOf(file: string): string {
  if (file.endsWith(".json")) return "application/json";
  if (file.endsWith(".jsonl")) return "application/jsonl";
  return file.endsWith(".csv") ? "text/csv" : "application/octet-stream";
}

/** The nearest folder of installed libraries, from a folder upwards. */
export function findModules(from: string): string | null {
  for (let at = from; ; at = dirname(at)) {
    const modules = join(at, "node_modules");
    if (existsSync(modules)) return modules;
    if (dirname(at) === at) return null;
  }
}
