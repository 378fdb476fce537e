import type { JsonObject, JsonValue } from "@sovereign/core";
import type { AgentEvent } from "../../adapter.ts";
import { countOf, isObject, objectOf, textOf } from "../../untrusted.ts";

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

function system(value: JsonObject): AgentEvent[] {
  if (value["subtype"] === "init") {
    const { claude_code_version: version, model, session_id: session } = value;
    const told = { version: textOf(version), model: textOf(model) };
    return [{ kind: "started", ...told, session: textOf(session) }];
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
  if (type === "tool_use") return [{ kind: "tool", mark: textOf(id), name: textOf(name) }];
  if (type !== "tool_result") return [];
  const failed = isError === true;
  const isHookFailed = failed && HOOK_FAILED.test(contentOf(block["content"]));
  return [{ kind: "tool_result", mark: textOf(call), ran: !failed, isHookFailed }];
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
    turns: countOf(value["num_turns"]),
    costUsd: typeof value["total_cost_usd"] === "number" ? value["total_cost_usd"] : null,
    // Without what came from a cache, as this program counts.
    inputTokens:
      countOf(usage["input_tokens"]) +
      countOf(usage["cache_read_input_tokens"]) +
      countOf(usage["cache_creation_input_tokens"]),
    outputTokens: countOf(usage["output_tokens"]),
    denied: denied.map((one) => textOf(one["tool_use_id"])),
  };
}

function errorsOf(value: JsonValue | undefined): string {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string").join("; ") : "";
}
