import {
  canonicalBytes,
  commandsOfPack,
  formats,
  isSovereignError,
  type JsonValue,
  parseFormat,
  parseStrictJson,
  promptOfPack,
  sha256Hex,
  SovereignError,
  type ToolResultPack,
  type ToolTaskPack,
} from "@sovereign/core";

/** The most bytes of a pack that are read. */
export const PACK_BYTES_MAX = 16 * 1024 * 1024;
const TASK_BYTES_MAX = 1024 * 1024;
/** What an agent takes as its task. */
const PROMPT_CHARS_MAX = 200_000;
const COMMANDS_MAX = 50;
/** It stands in the action that is authorised. */
const SCOPE_BYTES_MAX = 8 * 1024;

/** A task pack that can be carried out, with its one spelling. */
export interface GivenPack {
  readonly pack: ToolTaskPack;
  /** In canonical form. */
  readonly bytes: Uint8Array;
  /** Of these bytes. */
  readonly sha256: string;
}

/**
 * Read a task pack. A field that is not known is refused: whoever wrote it wanted something by it.
 *
 * @param bytes untrusted JSON
 * @throws ERR_TOOL_PACK_INVALID
 */
export function parseTaskPack(bytes: Uint8Array, path: string): GivenPack {
  const value = readJson(bytes, path, TASK_BYTES_MAX);
  const pack = parseFormat(formats.toolTaskPack, value, path, "ERR_TOOL_PACK_INVALID");
  requireUsable(pack, path);
  const canonical = canonicalBytes(value);
  return { pack, bytes: canonical, sha256: sha256Hex(canonical) };
}

/** Read a result pack that somebody else made. @throws ERR_TOOL_PACK_INVALID */
export function parseResultPack(bytes: Uint8Array, path: string): ToolResultPack {
  const value = readJson(bytes, path, PACK_BYTES_MAX);
  return parseFormat(formats.toolResultPack, value, path, "ERR_TOOL_PACK_INVALID");
}

function readJson(bytes: Uint8Array, path: string, bytesMax: number): JsonValue {
  try {
    return parseStrictJson(bytes, { bytesMax });
  } catch (cause) {
    if (!isSovereignError(cause)) throw cause;
    throw new SovereignError("ERR_TOOL_PACK_INVALID", `${path}: ${cause.message}`, {}, cause);
  }
}

/** What no schema says: limits that nobody here could hold are refused, and not left out. */
function requireUsable(pack: ToolTaskPack, path: string): void {
  const ids = new Set(pack.steps.map((one) => one.step_id));
  if (ids.size !== pack.steps.length) throw invalid(path, "at steps: a step_id stands twice");
  const prompt = promptOfPack(pack);
  if (prompt.length > PROMPT_CHARS_MAX) {
    const found = `expected at most ${PROMPT_CHARS_MAX} characters for the tool, found ${prompt.length}`;
    throw invalid(path, found);
  }
  const scope = canonicalBytes(pack.work_scope).length;
  if (scope > SCOPE_BYTES_MAX) {
    throw invalid(path, `at work_scope: expected at most ${SCOPE_BYTES_MAX} bytes, found ${scope}`);
  }
  const commands = commandsOfPack(pack).length;
  if (commands > COMMANDS_MAX) {
    throw invalid(path, `expected at most ${COMMANDS_MAX} commands, found ${commands}`);
  }
  const turns = pack.limits?.turns ?? null;
  if (turns === null) return;
  const found = `at limits.turns: no tool here can be held to ${turns} turns. Put null, and limit the time or the budget`;
  throw invalid(path, found);
}

function invalid(path: string, found: string): SovereignError {
  return new SovereignError("ERR_TOOL_PACK_INVALID", `${path}: ${found}`);
}
