import { createHash } from "node:crypto";
import { cp, lstat, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { cutText, digestOf, type JsonObject, nearestName, SovereignError } from "@sovereign/core";
import { ARTIFACT_BYTES_MAX } from "../runs/index.ts";
import { parsePipeline } from "./pipeline-format.ts";
import type { Pipeline } from "./pipeline-schema.ts";
import { programTasks, withFaults } from "./program-task.ts";

const FILES_MAX = 2000;
const FOLDER = "01_intent";

/** A pipeline with everything it will use, copied into the run's folder and pinned by digests. */
export interface FrozenPipeline {
  readonly pipeline: Pipeline;
  readonly folder: string;
  readonly policyBytes: Uint8Array;
  readonly policyPath: string;
  /** The plan: the pipeline and the digest of every file that it will use. */
  readonly plan: JsonObject;
}

/**
 * Copy what a pipeline file names into a run's folder, so that nothing that happens to the
 * originals afterwards changes the run.
 *
 * @param path the pipeline file; untrusted, as is everything beside it
 * @param runFolder `runs/<run_id>`
 * @param faults roles whose agents are to lie; they stand in the plan
 * @throws ERR_PIPELINE_…, ERR_PIPELINE_FILE when a named file is missing, a link, or not the
 *   declared bytes
 */
export async function freezePipeline(
  path: string,
  runFolder: string,
  faults: readonly string[],
): Promise<FrozenPipeline> {
  const bytes = await readNamed(path, path);
  const pipeline = withFaults(parsePipeline(bytes, path), faults);
  const source = dirname(resolve(path));
  const temporary = join(runFolder, `${FOLDER}.partial`);
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true, mode: 0o700 });
  await copyFile(path, join(temporary, "pipeline.yaml"));
  for (const file of namedFiles(pipeline)) {
    await copyFile(join(source, file), join(temporary, "files", file));
  }
  await mkdir(join(temporary, "programs"), { mode: 0o700 });
  await copyTree(join(source, pipeline.programs), join(temporary, "programs"));
  await requirePrograms(pipeline, join(temporary, "programs"));
  await rename(temporary, join(runFolder, FOLDER));
  return openFrozen(runFolder, faults);
}

/**
 * Open what an earlier process froze.
 * @throws as {@link freezePipeline}
 */
export async function openFrozen(
  runFolder: string,
  faults: readonly string[],
): Promise<FrozenPipeline> {
  const folder = join(runFolder, FOLDER);
  const path = join(folder, "pipeline.yaml");
  const pipeline = withFaults(parsePipeline(await readNamed(path, path), path), faults);
  const { dataset, governance } = pipeline;
  const files: Record<string, string> = {};
  for (const file of namedFiles(pipeline)) {
    files[file] = sha256(await readNamed(join(folder, "files", file), file));
  }
  for (const pinned of [dataset, ...(dataset.descriptor ? [dataset.descriptor] : [])]) {
    if (files[pinned.path] !== pinned.sha256) {
      throw new SovereignError(
        "ERR_PIPELINE_FILE",
        `${pinned.path}: expected SHA-256 ${pinned.sha256}, found ${String(files[pinned.path])}.`,
        { path: pinned.path },
      );
    }
  }
  const programs = await digestTree(join(folder, "programs"));
  const plan: JsonObject = {
    pipeline: JSON.parse(JSON.stringify(pipeline)) as JsonObject,
    files,
    programs,
    programs_digest: digestOf(programs),
    faults: [...faults],
  };
  const policyPath = governance.policy;
  const policyBytes = await readNamed(join(folder, "files", policyPath), policyPath);
  return { pipeline, folder, policyBytes, policyPath, plan };
}

/** A misspelt name is told before the first stage has run, and not when its turn comes. */
async function requirePrograms(pipeline: Pipeline, folder: string): Promise<void> {
  const there = await listTree(folder);
  for (const stage of pipeline.stages) {
    for (const { stepId, program } of programTasks(pipeline, stage)) {
      if (there.includes(program)) continue;
      const found = cutText(there.join(", "), 500) || "no file";
      const near = nearestName(program, there);
      const meant = near === null ? "" : ` Did you mean ${near}?`;
      const text = `${stepId}: expected the program ${program} in ${pipeline.programs}; found ${found}.${meant}`;
      throw new SovereignError("ERR_PIPELINE_FILE", text, { path: program });
    }
  }
}

/** Relative path → SHA-256 of every file below a folder. */
export async function digestTree(folder: string): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const path of await listTree(folder)) {
    digests[path] = sha256(await readNamed(join(folder, path), path));
  }
  return digests;
}

function namedFiles(pipeline: Pipeline): string[] {
  const { dataset, governance } = pipeline;
  const descriptor = dataset.descriptor === undefined ? [] : [dataset.descriptor.path];
  return [dataset.path, ...descriptor, governance.policy];
}

async function copyTree(from: string, to: string): Promise<void> {
  for (const path of await listTree(from)) await copyFile(join(from, path), join(to, path));
}

/** Plain files only: a link could lead anywhere, and a device or socket is no program. */
async function listTree(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true }).catch(
    (cause: unknown) => {
      throw missing(folder, cause);
    },
  );
  const files: string[] = [];
  for (const item of found) {
    const path = relative(folder, join(item.parentPath, item.name));
    if (path.split("/").some((part) => part === "node_modules" || part.startsWith("."))) continue;
    if (item.isDirectory()) continue;
    if (!item.isFile()) throw notPlain(path);
    files.push(path);
  }
  if (files.length > FILES_MAX) {
    throw new SovereignError("ERR_PIPELINE_FILE", `${folder}: more than ${FILES_MAX} files.`);
  }
  return files.sort();
}

async function copyFile(from: string, to: string): Promise<void> {
  await readNamed(from, from);
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  await cp(from, to, { errorOnExist: true, force: false });
}

async function readNamed(path: string, name: string): Promise<Uint8Array> {
  const found = await lstat(path).catch((cause: unknown) => {
    throw missing(name, cause);
  });
  if (!found.isFile()) throw notPlain(name);
  if (found.size > ARTIFACT_BYTES_MAX) throw tooLarge(name, found.size);
  return readFile(path);
}

function missing(name: string, cause: unknown): SovereignError {
  return new SovereignError("ERR_PIPELINE_FILE", `${name}: no such file.`, { path: name }, cause);
}

function tooLarge(name: string, size: number): SovereignError {
  const text = `${name}: expected at most ${ARTIFACT_BYTES_MAX} bytes, found ${size}.`;
  return new SovereignError("ERR_PIPELINE_FILE", text, { path: name });
}

function notPlain(name: string): SovereignError {
  const text = `${name}: expected a plain file, found a link or something else.`;
  return new SovereignError("ERR_PIPELINE_FILE", text, { path: name });
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
