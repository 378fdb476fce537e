import { canonicalize } from "@sovereign/core";
import type { HookCall, ToolAnswer, ToolAsk } from "../../adapter.ts";
import { isObject, objectOf } from "../../untrusted.ts";
import { asksOf, nameOf } from "./tools.ts";

/** What our plugin tells. @param body untrusted: all in the sandbox can say so */
export function hook(body: string): HookCall | null {
  const value = objectOf(body);
  if (value === null) return null;
  const { phase, id, tool, input, response = null } = value;
  if (typeof tool !== "string" || typeof id !== "string") return null;
  if (!isShort(tool) || !isShort(id) || !isObject(input)) return null;
  const call = { id, mark: id, tool: nameOf(tool, input), input: { ...input, [OWN_NAME]: tool } };
  if (phase === "before") return { phase, ...call, response: null };
  return phase === "after" ? { phase, ...call, response: JSON.stringify(response) } : null;
}

/** The program's own name of a tool, in the record of a call: no argument of a tool's has this name. */
const OWN_NAME = "opencode.tool";

export function asks({ input }: HookCall): readonly ToolAsk[] | null {
  const tool = input[OWN_NAME];
  return typeof tool === "string" ? asksOf(tool, input as Parameters<typeof asksOf>[1]) : null;
}

export function answer(call: HookCall, { allowed, reason }: ToolAnswer): string {
  return call.phase === "after" ? "{}" : canonicalize({ allowed, reason });
}

function isShort(text: string): boolean {
  return text.length > 0 && text.length <= 200;
}
