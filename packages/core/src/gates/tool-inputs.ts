import { sha256Hex } from "../digest/index.ts";
import { isSovereignError } from "../errors/index.ts";
import {
  type Checksums,
  type ExecutionResult,
  formats,
  type JsonValue,
  parseFormat,
  type PlacedEntry,
  type ToolResultPack,
  type ToolTaskPack,
} from "../formats/index.ts";
import { parseStrictJson } from "../json/index.ts";
import { readToolFacts, resultPackOf, type ToolFacts } from "../packs/index.ts";

/** A pack as it lies there. It may be no pack at all: gates say so. */
export interface PackRead {
  readonly sha256: string;
  /** Null where it is no JSON. */
  readonly value: JsonValue;
  /** Why it is not of its format; null where it is. */
  readonly problem: string | null;
}

/** What the gates of tools judge. */
export interface ToolGateInputs {
  readonly facts: ToolFacts;
  /** Null where it is not of its format. */
  readonly task: ToolTaskPack | null;
  readonly said: ToolResultPack | null;
  /** The result pack, computed from the evidence; null where the run has no result. */
  readonly found: ToolResultPack | null;
}

const NAMES = {
  task: "01_intent/tool_task_pack.json",
  result: "04_verification/tool_result_pack.json",
} as const;

/** True for the artifact that holds what a command said. */
export function isCommandLog(name: string): boolean {
  return name.startsWith("03_executor/logs/");
}

/** @param contents untrusted; a pack of another form is told as its problem */
export function readTool(
  contents: ReadonlyMap<string, Uint8Array>,
  entries: readonly PlacedEntry[],
  documents: {
    readonly result: ExecutionResult | null;
    readonly checksums: Checksums | null;
  },
): { taskPack: PackRead | null; resultPack: PackRead | null; tool: ToolGateInputs | null } {
  const task = readPack(contents.get(NAMES.task), (value) =>
    parseFormat(formats.toolTaskPack, value, "task pack"),
  );
  if (task === null) return { taskPack: null, resultPack: null, tool: null };
  const said = readPack(contents.get(NAMES.result), (value) =>
    parseFormat(formats.toolResultPack, value, "result pack"),
  );
  const facts = readToolFacts(entries);
  const { result, checksums } = documents;
  const found =
    task.pack === null || result === null
      ? null
      : resultPackOf({
          runId: result.run_id,
          task: task.pack,
          facts,
          result,
          checksums,
          patches: contents,
          logs: contents,
        });
  const tool = { facts, task: task.pack, said: said?.pack ?? null, found };
  return { taskPack: task.read, resultPack: said?.read ?? null, tool };
}

function readPack<T>(
  bytes: Uint8Array | undefined,
  parse: (value: JsonValue) => T,
): { read: PackRead; pack: T | null } | null {
  if (bytes === undefined) return null;
  const sha256 = sha256Hex(bytes);
  let value: JsonValue = null;
  try {
    value = parseStrictJson(bytes);
    const pack = parse(value);
    return { read: { sha256, value, problem: null }, pack };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return { read: { sha256, value, problem: error.message }, pack: null };
  }
}
