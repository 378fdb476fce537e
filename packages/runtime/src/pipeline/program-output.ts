import {
  cutText,
  fields,
  isSovereignError,
  parseStrictJson,
  SovereignError,
  sha256Hex,
  readFormat,
} from "@sovereign/core";
import { z } from "zod";
import type { ProgramRequest, ProgramTask } from "./program-task.ts";

const RESULT_FILE = "result.json";
const RESULT_BYTES_MAX = 256 * 1024;
const VERDICT_BYTES_MAX = 32 * 1024;

/** `result.json`: what a program says that it did. Only what is recomputed here is believed. */
export const programResult = z.strictObject({
  /** What it calls itself. Which program ran stands in the action, and nothing is read from here. */
  program: z.string().min(1).max(100),
  stage: z.string(),
  seed: fields.count,
  inputs: z.record(z.string(), fields.digest),
  outputs: z.record(z.string(), z.strictObject({ sha256: fields.digest, bytes: fields.count })),
  summary: fields.jsonObject,
});
export type ProgramResult = z.infer<typeof programResult>;

/** `verdict.json`: one agent's judgement, before it is signed as a vote. */
export const agentVerdict = z.strictObject({
  role: fields.name,
  verdict: z.enum(["approve", "reject"]),
  claims: fields.jsonObject,
  findings: z.array(z.string().max(500)).max(200),
});
export type AgentVerdict = z.infer<typeof agentVerdict>;

/** A file that was left, by our own measure. */
export interface ProducedFile {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Hold what a program left against what it was asked: exactly the declared files, the digests that
 * it states, the inputs and seed that it was given.
 *
 * @param files every file of the output folder, read after the program was dead; untrusted
 * @returns the parsed result and all files with their digests, `result.json` last
 * @throws ERR_PROGRAM_OUTPUT with the first thing that is wrong
 */
export function checkProgramOutput(
  task: ProgramTask,
  request: ProgramRequest,
  files: ReadonlyMap<string, Uint8Array>,
): { result: ProgramResult; files: ProducedFile[] } {
  const expected = [...task.outputs].sort();
  const found = [...files.keys()].filter((name) => name !== RESULT_FILE).sort();
  if (found.join("\n") !== expected.join("\n")) {
    throw wrong(task, `expected the files ${expected.join(", ")}; found ${list(found)}`);
  }
  const result = read(task, programResult, files.get(RESULT_FILE), RESULT_FILE, RESULT_BYTES_MAX);
  if (result.stage !== request.stage || result.seed !== request.seed) {
    throw wrong(task, `${RESULT_FILE} is of stage ${result.stage} and seed ${result.seed}`);
  }
  const inputs = Object.entries(request.inputs).map(([name, { sha256 }]) => [name, sha256]);
  if (!sameRecord(result.inputs, Object.fromEntries(inputs) as Record<string, string>)) {
    throw wrong(task, `${RESULT_FILE} names other inputs than it was given`);
  }
  const produced = expected.map((name) => measure(name, files.get(name) ?? new Uint8Array()));
  for (const { name, sha256, bytes } of produced) {
    const stated = result.outputs[name];
    if (stated?.sha256 !== sha256) {
      throw wrong(task, `${RESULT_FILE} states another digest of ${name} than its bytes have`);
    }
    if (stated.bytes !== bytes) {
      throw wrong(task, `${RESULT_FILE} states ${stated.bytes} bytes of ${name}; it has ${bytes}`);
    }
  }
  if (Object.keys(result.outputs).length !== produced.length) {
    throw wrong(task, `${RESULT_FILE} states files that are not there`);
  }
  produced.push(measure(RESULT_FILE, files.get(RESULT_FILE) ?? new Uint8Array()));
  return { result, files: produced };
}

/**
 * Read `verdict.json`.
 * @param bytes untrusted
 * @throws ERR_VERDICT_MALFORMED when it is not a verdict of this agent
 */
export function parseAgentVerdict(task: ProgramTask, bytes: Uint8Array): AgentVerdict {
  const code = "ERR_VERDICT_MALFORMED";
  const verdict = read(task, agentVerdict, bytes, "verdict.json", VERDICT_BYTES_MAX, code);
  if (verdict.role !== task.role) {
    throw wrong(task, `expected a verdict of ${task.role}, found one of ${verdict.role}`, code);
  }
  return verdict;
}

type Code = "ERR_PROGRAM_OUTPUT" | "ERR_VERDICT_MALFORMED";

function read<T extends z.ZodType>(
  task: ProgramTask,
  format: T,
  bytes: Uint8Array | undefined,
  name: string,
  bytesMax: number,
  code: Code = "ERR_PROGRAM_OUTPUT",
): z.infer<T> {
  if (bytes === undefined) throw wrong(task, `expected ${name}, found none`, code);
  let value: unknown;
  try {
    // Any spelling of JSON will do: what is signed of it is written canonically.
    value = parseStrictJson(bytes, { bytesMax });
  } catch (error) {
    if (isSovereignError(error)) throw wrong(task, `${name}: ${error.message}`, code);
    throw error;
  }
  const parsed = readFormat(format, value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const at = issue?.path.map(String).join(".") ?? "";
  throw wrong(task, `${name}: ${at === "" ? "" : `${at}: `}${issue?.message ?? "no match"}`, code);
}

function measure(name: string, bytes: Uint8Array): ProducedFile {
  return { name, sha256: sha256Hex(bytes), bytes: bytes.length };
}

function sameRecord(left: Record<string, string>, right: Record<string, string>): boolean {
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && left[key] === right[key])
  );
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : cutText(names.slice(0, 20).join(", "), 500);
}

function wrong(
  task: ProgramTask,
  found: string,
  code: Code = "ERR_PROGRAM_OUTPUT",
): SovereignError {
  const text = `step ${task.stepId} (${task.program}): ${found}`;
  return new SovereignError(code, text, { step: task.stepId });
}
