import { canonicalize, type JsonObject } from "@sovereign/core";
import type { ToolAnswer } from "./adapter.ts";
import { isObject, objectOf } from "./untrusted.ts";

/** What a hook of the family of Claude Code's is told on standard input. */
export interface ToolHook {
  readonly phase: "before" | "after";
  readonly id: string;
  readonly tool: string;
  readonly input: JsonObject;
  /** Of a call that ended: what the tool said, as JSON text. */
  readonly response: string | null;
}

/** @param body untrusted */
export function readToolHook(body: string): ToolHook | null {
  const value = objectOf(body);
  if (value === null) return null;
  const { hook_event_name: event, tool_name: tool, tool_use_id: id, tool_input: input } = value;
  if (typeof tool !== "string" || typeof id !== "string") return null;
  if (!isShort(tool) || !isShort(id)) return null;
  if (!isObject(input)) return null;
  const call = { id, tool, input };
  if (event === "PreToolUse") return { phase: "before", ...call, response: null };
  if (event !== "PostToolUse") return null;
  return { phase: "after", ...call, response: JSON.stringify(value["tool_response"] ?? null) };
}

/** The answer before a call, in the form that this family reads. */
export function decision({ allowed, reason }: Pick<ToolAnswer, "allowed" | "reason">): string {
  const said = {
    hookEventName: "PreToolUse",
    permissionDecision: allowed ? "allow" : "deny",
    permissionDecisionReason: reason,
  };
  return canonicalize({ hookSpecificOutput: said });
}

/** What the hook itself says where nobody answered it. */
export const DENIAL: string = decision({
  allowed: false,
  reason: "The tool call could not be judged.",
});

function isShort(text: string): boolean {
  return text.length > 0 && text.length <= 200;
}
