import type { JsonValue } from "@sovereign/core";
import type { HookCall, ToolAnswer, ToolAsk } from "../../adapter.ts";
import { commandAsk } from "../../asks.ts";
import { filesOfPatch, patchAsks, type PatchedFile, toolOfPatch } from "../../patch.ts";
import { decision, readToolHook } from "../../tool-hooks.ts";
import { markOfCommand, markOfOther, markOfPatch } from "./marks.ts";

/** @param body untrusted */
export function hook(body: string): HookCall | null {
  const told = readToolHook(body);
  if (told === null) return null;
  const command = told.input["command"];
  if (told.tool === "apply_patch") {
    const files = patchOf(command);
    return { ...told, tool: toolOfPatch(files), mark: markOfPatch(files ?? []) };
  }
  const mark =
    told.tool === "Bash" && typeof command === "string"
      ? markOfCommand(command)
      : markOfOther(told.tool);
  return { ...told, mark };
}

/**
 * Codex takes an answer that allows for an invalid one, and goes on all the same: it is told nothing.
 */
export function answer(call: HookCall, given: ToolAnswer): string {
  return call.phase === "before" && !given.allowed ? decision(given) : "{}";
}

/** What a call does, in our vocabulary. Tools that are not here are judged by their names alone. */
export function asks({ tool, input }: HookCall): readonly ToolAsk[] | null {
  const command = input["command"] as JsonValue | undefined;
  if (tool === "Bash") return isPatchOfShell(command) ? null : commandAsk(command);
  return tool === "Edit" || tool === "Write" ? patchAsks(patchOf(command)) : [];
}

/**
 * Codex reads a patch out of such a command and applies it itself, without the hook's second half. Its
 * model has a tool for patches.
 */
function isPatchOfShell(command: JsonValue | undefined): boolean {
  return typeof command === "string" && /^\s*(?:cd\s[^&]*&&\s*)?apply_?patch\b/.test(command);
}

function patchOf(command: JsonValue | undefined): PatchedFile[] | null {
  return typeof command === "string" ? filesOfPatch(command) : null;
}
