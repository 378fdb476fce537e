import type { JsonValue } from "@sovereign/core";
import type { HookCall, ToolAnswer, ToolAsk } from "../../adapter.ts";
import { commandAsk, fileAsk, hostAsk } from "../../asks.ts";
import { decision, readToolHook } from "../../tool-hooks.ts";

/** Its tools have our names already. */
export function hook(body: string): HookCall | null {
  const told = readToolHook(body);
  return told === null ? null : { ...told, mark: told.id };
}

export function answer(call: HookCall, given: ToolAnswer): string {
  return call.phase === "after" ? "{}" : decision(given);
}

/** Tools → the type of our action, and the argument that names its resource. */
const FILES: Readonly<Record<string, readonly [type: string, argument: string]>> = {
  Read: ["file.read", "file_path"],
  Write: ["file.write", "file_path"],
  Edit: ["file.update", "file_path"],
  MultiEdit: ["file.update", "file_path"],
  NotebookEdit: ["file.update", "notebook_path"],
};

/** What a call does, in our vocabulary. Tools that are not here are judged by their names alone. */
export function asks({ tool, input }: HookCall): readonly ToolAsk[] | null {
  const file = Object.hasOwn(FILES, tool) ? FILES[tool] : undefined;
  if (file !== undefined) {
    const [type, argument] = file;
    return fileAsk(type, input[argument] as JsonValue | undefined);
  }
  if (tool === "Bash") return commandAsk(input["command"] as JsonValue | undefined);
  if (tool === "WebFetch") return hostAsk(input["url"] as JsonValue | undefined);
  return [];
}
