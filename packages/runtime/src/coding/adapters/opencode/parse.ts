import type { JsonObject } from "@sovereign/core";
import type { AgentEvent } from "../../adapter.ts";
import { countOf, isObject, objectOf, textOf } from "../../untrusted.ts";

const OTHER: readonly AgentEvent[] = [{ kind: "other" }];

/**
 * One line of `opencode run --format json`. The program says of each step how it ended, and nothing at
 * the end: the last step is the last word.
 *
 * @param line untrusted
 */
export function parse(line: string): AgentEvent[] {
  const value = objectOf(line);
  if (value === null) return [...OTHER];
  const part = isObject(value["part"]) ? value["part"] : {};
  switch (value["type"]) {
    case "step_start":
      return [{ kind: "started", version: "", model: "", session: textOf(value["sessionID"]) }];
    case "text":
      return [{ kind: "text", text: textOf(part["text"]) }];
    case "tool_use":
      return toolUse(part);
    case "step_finish":
      return stepFinish(part);
    case "error":
      return [error(value["error"])];
    default:
      return [...OTHER];
  }
}

/** How the plugin reports that nobody answered it: the text is the whole error of such a call. */
const HOOK_FAILED = /^(Error: )?sovereign: the call could not be judged/;

function toolUse(part: JsonObject): AgentEvent[] {
  const state = isObject(part["state"]) ? part["state"] : {};
  const mark = textOf(part["callID"]);
  const ran = state["status"] !== "error";
  const isHookFailed = !ran && HOOK_FAILED.test(textOf(state["error"]));
  return [
    { kind: "tool", mark, name: textOf(part["tool"]) },
    { kind: "tool_result", mark, ran, isHookFailed },
  ];
}

/** Of one step: what it used, and whether the model had more to do. */
function stepFinish(part: JsonObject): AgentEvent[] {
  const tokens = isObject(part["tokens"]) ? part["tokens"] : {};
  const cache = isObject(tokens["cache"]) ? tokens["cache"] : {};
  const reason = textOf(part["reason"]);
  return [
    {
      kind: "used",
      // Without what came from a cache, as this program counts.
      inputTokens: countOf(tokens["input"]) + countOf(cache["read"]) + countOf(cache["write"]),
      outputTokens: countOf(tokens["output"]) + countOf(tokens["reasoning"]),
    },
    { ...END, ok: reason === "stop", word: reason },
  ];
}

const END = {
  kind: "result",
  ok: false,
  word: "",
  text: "",
  turns: null,
  costUsd: null,
  inputTokens: 0,
  outputTokens: 0,
  denied: [],
} as const;

function error(value: JsonObject[string] | undefined): AgentEvent {
  const told = isObject(value) ? value : {};
  const data = isObject(told["data"]) ? told["data"] : {};
  return { ...END, word: textOf(told["name"]), text: textOf(data["message"]) };
}
