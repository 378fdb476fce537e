import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { canonicalBytes, type JsonValue, sha256Hex } from "@sovereign/core";
import {
  checkProgramOutput,
  type Pipeline,
  type ProducedFile,
  type ProgramRequest,
  type ProgramTask,
  parsePipeline,
  programRequest,
  programTasks,
} from "../../../src/pipeline/index.ts";

const repository = fileURLToPath(new URL("../../../../../", import.meta.url));
export const exampleFolder = join(repository, "examples", "iron-path");

export function examplePipeline(file = "pipeline.yaml"): Pipeline {
  return parsePipeline(readFileSync(join(exampleFolder, file)), file);
}

export interface Ended {
  readonly status: number | null;
  readonly stderr: string;
  readonly ms: number;
}

/**
 * A folder laid out as the sandbox is: `program/`, `node_modules/`, `input/`, `output/`, with
 * nothing of the repository near it. It isolates nothing: what is tested here is the programs.
 */
export class ProgramRunner {
  readonly pipeline: Pipeline;
  /** The repository's libraries. */
  readonly modules = realpathSync(join(repository, "node_modules"));
  readonly root = mkdtempSync(join(tmpdir(), "programs-"));
  /** Bytes by reference: `dataset/data`, `stage/artifact`. */
  readonly artifacts = new Map<string, Uint8Array>();

  constructor(pipeline: Pipeline) {
    this.pipeline = pipeline;
    cpSync(join(exampleFolder, pipeline.programs), join(this.root, "program"), { recursive: true });
    symlinkSync(this.modules, join(this.root, "node_modules"));
    const { path, descriptor } = pipeline.dataset;
    this.artifacts.set("dataset/data", readFileSync(join(exampleFolder, path)));
    if (descriptor === undefined) throw new Error("the example describes its data");
    this.artifacts.set("dataset/descriptor", readFileSync(join(exampleFolder, descriptor.path)));
  }

  close(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  taskOf(stepId: string): ProgramTask {
    const tasks = this.pipeline.stages.flatMap((stage) => programTasks(this.pipeline, stage));
    const found = tasks.find((task) => task.stepId === stepId);
    if (found === undefined) throw new Error(`no program in step ${stepId}`);
    return found;
  }

  /** Put a task's inputs in place and say so in its request, as seen from `seenFrom`. */
  requestOf(task: ProgramTask, seenFrom = this.root): ProgramRequest {
    const folders = { input: join(this.root, "input"), output: join(this.root, "output") };
    for (const folder of Object.values(folders)) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
    }
    const digests: Record<string, string> = {};
    for (const [name, reference] of Object.entries(task.inputs)) {
      const bytes = this.artifacts.get(reference);
      if (bytes === undefined) throw new Error(`nothing made ${reference}`);
      writeFileSync(join(folders.input, name), bytes);
      digests[name] = sha256Hex(bytes);
    }
    return programRequest(this.pipeline, task, digests, {
      input: join(seenFrom, "input"),
      output: join(seenFrom, "output"),
    });
  }

  /** Run a program with any request and an empty environment. */
  spawn(task: ProgramTask, request: JsonValue | Uint8Array): Ended {
    const stdin = request instanceof Uint8Array ? request : canonicalBytes(request);
    const started = performance.now();
    const { status, stderr } = spawnSync(
      process.execPath,
      [join(this.root, "program", task.program)],
      { input: stdin, env: {}, cwd: this.root, encoding: "utf8" },
    );
    return { status, stderr, ms: performance.now() - started };
  }

  outputs(): Map<string, Uint8Array> {
    const folder = join(this.root, "output");
    return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
  }

  /** Run a step, hold its output against its request, and keep its artifacts for later steps. */
  step(stepId: string): { files: ProducedFile[]; outputs: Map<string, Uint8Array>; ms: number } {
    const task = this.taskOf(stepId);
    const request = this.requestOf(task);
    const { status, stderr, ms } = this.spawn(task, request);
    if (status !== 0) throw new Error(`${stepId} ended with ${String(status)}: ${stderr}`);
    const outputs = this.outputs();
    const { files } = checkProgramOutput(task, request, outputs);
    for (const [name, bytes] of outputs) this.artifacts.set(`${stepId}/${name}`, bytes);
    return { files, outputs, ms };
  }
}
