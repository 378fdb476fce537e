import type { JsonObject } from "@sovereign/core";
import type { AgentEvent } from "../../adapter.ts";
import { countOf, isObject, objectOf, textOf } from "../../untrusted.ts";
import { markOfOther, markOfPatch, markOfPrinted } from "./marks.ts";
import type { PatchedFile } from "../../patch.ts";

const OTHER: readonly AgentEvent[] = [{ kind: "other" }];

/**
 * One line of `codex exec --json`.
 *
 * @param line untrusted
 */
export function parse(line: string): AgentEvent[] {
  const value = objectOf(line);
  if (value === null) return [...OTHER];
  const { type, item } = value;
  switch (type) {
    case "thread.started":
      return [{ kind: "started", version: "", model: "", session: textOf(value["thread_id"]) }];
    case "item.started":
    case "item.completed":
      return isObject(item) ? itemEvent(item, type === "item.completed") : [...OTHER];
    case "error":
      return [{ kind: "retry", status: null }];
    case "turn.completed":
      return [result(value, true)];
    case "turn.failed":
      return [result(value, false)];
    default:
      return [...OTHER];
  }
}

/** What does nothing: words, plans, and errors of which it goes on. */
const IDLE: ReadonlySet<unknown> = new Set(["reasoning", "todo_list", "error", "plan"]);

function itemEvent(item: JsonObject, isEnd: boolean): AgentEvent[] {
  const { type, text } = item;
  if (type === "agent_message") return isEnd ? [{ kind: "text", text: textOf(text) }] : [...OTHER];
  if (IDLE.has(type)) return [...OTHER];
  const mark = markOfItem(item);
  if (!isEnd) return [{ kind: "tool_begun", mark }];
  const { status } = item;
  return [{ kind: "tool_result", mark, ran: status !== "declined", isHookFailed: false }];
}

/** An item that is neither of the two kinds is a call for which nobody can have been asked. */
function markOfItem(item: JsonObject): string {
  const { type, command, changes } = item;
  if (type === "command_execution") return markOfPrinted(textOf(command));
  if (type !== "file_change" || !Array.isArray(changes)) return markOfOther(textOf(type));
  return markOfPatch(changes.filter(isObject).map(fileOf));
}

function fileOf({ kind, path }: JsonObject): Pick<PatchedFile, "kind" | "path"> {
  const isKnown = kind === "add" || kind === "delete";
  return { kind: isKnown ? kind : "update", path: textOf(path) };
}

function result(value: JsonObject, ok: boolean): AgentEvent {
  const usage = isObject(value["usage"]) ? value["usage"] : {};
  const error = isObject(value["error"]) ? value["error"] : {};
  return {
    kind: "result",
    ok,
    word: textOf(value["type"]),
    text: textOf(error["message"]),
    turns: null,
    costUsd: null,
    // With what came from a cache, as this program counts.
    inputTokens: countOf(usage["input_tokens"]),
    outputTokens: countOf(usage["output_tokens"]),
    denied: [],
  };
}
