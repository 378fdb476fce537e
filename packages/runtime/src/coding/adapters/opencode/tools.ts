import type { JsonObject } from "@sovereign/core";
import type { ToolAsk } from "../../adapter.ts";
import { commandAsk, fileAsk, hostAsk } from "../../asks.ts";
import { filesOfPatch, patchAsks, type PatchedFile, toolOfPatch } from "../../patch.ts";

/** The program's tools in our vocabulary. A tool that is not here keeps its name. */
const NAMES: Readonly<Record<string, string>> = {
  bash: "Bash",
  read: "Read",
  glob: "Glob",
  grep: "Grep",
  list: "Glob",
  write: "Write",
  edit: "Edit",
  multiedit: "MultiEdit",
  webfetch: "WebFetch",
  websearch: "WebSearch",
  todowrite: "TaskUpdate",
  todoread: "TaskList",
  task: "Agent",
  skill: "Skill",
};

const PATCHES: ReadonlySet<string> = new Set(["apply_patch", "patch"]);

function patchOf({ patchText }: JsonObject): PatchedFile[] | null {
  return typeof patchText === "string" ? filesOfPatch(patchText) : null;
}

/** The program's permissions, each with the tools that need it. */
export const PERMISSIONS: Readonly<Record<string, readonly string[]>> = {
  bash: ["Bash"],
  read: ["Read"],
  glob: ["Glob"],
  grep: ["Grep"],
  list: ["Glob"],
  edit: ["Write", "Edit", "MultiEdit"],
  webfetch: ["WebFetch"],
  websearch: ["WebSearch"],
  todowrite: ["TaskUpdate"],
  todoread: ["TaskList"],
  task: ["Agent"],
  skill: ["Skill"],
};

export function nameOf(tool: string, input: JsonObject): string {
  if (PATCHES.has(tool)) return toolOfPatch(patchOf(input));
  return Object.hasOwn(NAMES, tool) ? (NAMES[tool] ?? tool) : tool;
}

/**
 * What a call does, in our vocabulary. Tools that are not here are judged by their names alone.
 * @param tool as the program names it
 * @returns null for what cannot be read: it is denied
 */
export function asksOf(tool: string, input: JsonObject): readonly ToolAsk[] | null {
  switch (tool) {
    case "bash":
      return bashAsk(input);
    case "read":
      return fileAsk("file.read", input["filePath"]);
    case "write":
      return fileAsk("file.write", input["filePath"]);
    case "edit":
    case "multiedit":
      return fileAsk("file.update", input["filePath"]);
    case "apply_patch":
    case "patch":
      return patchAsks(patchOf(input));
    case "webfetch":
      return hostAsk(input["url"]);
    default:
      return [];
  }
}

/** A command that begins in another folder is not the one of these words. */
function bashAsk({ command, workdir }: JsonObject): ToolAsk[] | null {
  if (workdir === undefined || workdir === "/workspace") return commandAsk(command);
  if (typeof workdir !== "string" || typeof command !== "string") return null;
  return commandAsk(`cd '${workdir.replaceAll("'", `'\\''`)}' && ${command}`);
}
