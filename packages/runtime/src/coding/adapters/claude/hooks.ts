import { canonicalize, type JsonValue } from "@sovereign/core";
import { posix } from "node:path";
import type { HookCall, ToolAnswer, ToolAsk } from "../../adapter.ts";
import { isObject, objectOf } from "./parse.ts";

const WORKSPACE = "/workspace";
/** What is thrown away with the run, and seen by nobody else. */
const OWN = ["/tmp", "/home/agent"];

/** @param body untrusted */
export function hook(body: string): HookCall | null {
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

export function answer(call: HookCall, { allowed, reason }: ToolAnswer): string {
  if (call.phase === "after") return "{}";
  return decision(allowed ? "allow" : "deny", reason);
}

export const DENIAL: string = decision("deny", "The tool call could not be judged.");

function decision(permissionDecision: "allow" | "deny", permissionDecisionReason: string): string {
  const said = { hookEventName: "PreToolUse", permissionDecision, permissionDecisionReason };
  return canonicalize({ hookSpecificOutput: said });
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

function fileAsk(type: string, path: JsonValue | undefined): ToolAsk[] | null {
  if (typeof path !== "string" || path === "" || path.includes("\0")) return null;
  const absolute = posix.resolve(WORKSPACE, path);
  if (OWN.some((folder) => absolute.startsWith(`${folder}/`))) return [];
  const inside = absolute.startsWith(`${WORKSPACE}/`);
  const resource = inside ? absolute.slice(WORKSPACE.length + 1) : absolute;
  return [{ type, resource, params: {} }];
}

/** Words that no shell changes are a command of these words; anything else is one of the shell's. */
const PLAIN = /^[A-Za-z0-9_@%+=:,./ -]+$/;

function commandAsk(command: JsonValue | undefined): ToolAsk[] | null {
  if (typeof command !== "string" || command.trim() === "") return null;
  const words = command.trim().split(/ +/);
  const [executable = "", ...argv] = words;
  const plain = PLAIN.test(command) && /^[A-Za-z0-9_./-]+$/.test(executable);
  if (plain) return [{ type: "command.run", resource: executable, params: { argv } }];
  return [{ type: "command.run", resource: "bash", params: { argv: ["-c", command] } }];
}

function hostAsk(url: JsonValue | undefined): ToolAsk[] | null {
  if (typeof url !== "string" || !URL.canParse(url)) return null;
  const { hostname } = new URL(url);
  return hostname === "" ? null : [{ type: "http.call", resource: hostname, params: {} }];
}

function isShort(text: string): boolean {
  return text.length > 0 && text.length <= 200;
}
