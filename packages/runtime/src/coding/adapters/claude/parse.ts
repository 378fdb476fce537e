import {
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  utf8Encode,
} from "@sovereign/core";
import type { AgentEvent } from "../../adapter.ts";

const BYTES_MAX = 64 * 1024 * 1024;
const OTHER: readonly AgentEvent[] = [{ kind: "other" }];

/**
 * One line of Claude Code's `stream-json`. What is not understood is `other`: the program adds kinds
 * of lines from version to version, and none of them decides anything.
 *
 * @param line untrusted
 */
export function parse(line: string): AgentEvent[] {
  const value = objectOf(line);
  if (value === null) return [...OTHER];
  switch (value["type"]) {
    case "system":
      return system(value);
    case "assistant":
    case "user":
      return blocksOf(value).flatMap(blockEvent);
    case "result":
      return [result(value)];
    default:
      return [...OTHER];
  }
}

/** @returns null for what is no JSON object */
export function objectOf(text: string): JsonObject | null {
  try {
    const value = parseStrictJson(utf8Encode(text), { bytesMax: BYTES_MAX });
    return isObject(value) ? value : null;
  } catch (error) {
    if (isSovereignError(error)) return null;
    throw error;
  }
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function system(value: JsonObject): AgentEvent[] {
  if (value["subtype"] === "init") {
    const { claude_code_version: version, model } = value;
    return [{ kind: "started", version: textOf(version), model: textOf(model) }];
  }
  if (value["subtype"] !== "api_retry") return [...OTHER];
  const { error_status: status } = value;
  return [{ kind: "retry", status: typeof status === "number" ? status : null }];
}

function blocksOf(value: JsonObject): JsonObject[] {
  const { message } = value;
  const content = isObject(message) ? message["content"] : undefined;
  return Array.isArray(content) ? content.filter(isObject) : [];
}

function blockEvent(block: JsonObject): AgentEvent[] {
  const { type, text, id, name, tool_use_id: call, is_error: isError } = block;
  if (type === "text") return [{ kind: "text", text: textOf(text) }];
  if (type === "tool_use") return [{ kind: "tool", id: textOf(id), name: textOf(name) }];
  if (type !== "tool_result") return [];
  const failed = isError === true;
  const isHookFailed = failed && HOOK_FAILED.test(contentOf(block["content"]));
  return [{ kind: "tool_result", id: textOf(call), isError: failed, isHookFailed }];
}

/**
 * How this program reports a hook that was killed, hung or said nothing, where `onFailure` is `block`.
 * What a command printed begins with its exit code, so it cannot begin like this.
 */
const HOOK_FAILED =
  /^(?:<tool_use_error>)?PreToolUse:[^\n]{1,200} hook error: \[[^\n]*failed; blocking because onFailure/;

/** The text of a result: a string, or the first of its blocks. */
function contentOf(value: JsonValue | undefined): string {
  const [first] = Array.isArray(value) ? value : [];
  return textOf(isObject(first) ? first["text"] : value);
}

function result(value: JsonObject): AgentEvent {
  const {
    subtype,
    is_error: isError,
    terminal_reason: terminal,
    permission_denials: denials,
  } = value;
  const usage = isObject(value["usage"]) ? value["usage"] : {};
  const denied = Array.isArray(denials) ? denials.filter(isObject) : [];
  const reason = typeof terminal === "string" ? terminal : "completed";
  return {
    kind: "result",
    ok: subtype === "success" && isError !== true && reason === "completed",
    word: subtype === "success" ? reason : textOf(subtype),
    text: typeof value["result"] === "string" ? value["result"] : errorsOf(value["errors"]),
    turns: numberOf(value["num_turns"]),
    costUsd: typeof value["total_cost_usd"] === "number" ? value["total_cost_usd"] : null,
    // Without what came from a cache, as this program counts.
    inputTokens:
      numberOf(usage["input_tokens"]) +
      numberOf(usage["cache_read_input_tokens"]) +
      numberOf(usage["cache_creation_input_tokens"]),
    outputTokens: numberOf(usage["output_tokens"]),
    denied: denied.map((one) => textOf(one["tool_use_id"])),
  };
}

function errorsOf(value: JsonValue | undefined): string {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string").join("; ") : "";
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function numberOf(value: JsonValue | undefined): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
