import { canonicalize, type JsonObject, type JsonValue } from "@sovereign/core";
import type { HookCall, ToolAnswer, ToolAsk } from "../../adapter.ts";
import { commandAsk, fileAsk, hostAsk } from "../../asks.ts";
import { isObject, objectOf, textOf } from "../../untrusted.ts";

const PATHS_MAX = 200;

/** What our client in the sandbox tells: the agent's own words, and so untrusted. */
export function hook(body: string): HookCall | null {
  const value = objectOf(body);
  if (value === null) return null;
  const { phase, id, kind, title, input, paths, diffs, response = null } = value;
  if (typeof id !== "string" || id === "" || id.length > 200) return null;
  if (phase !== "before" && phase !== "after") return null;
  const told: Told = {
    kind: textOf(kind),
    title: textOf(title),
    arguments: isObject(input) ? input : {},
    paths: Array.isArray(paths) ? paths : [],
    diffs: Array.isArray(diffs) ? diffs : [],
  };
  const said = phase === "after" ? JSON.stringify(response) : null;
  const call = { phase, id, mark: id, input: told } as const;
  return { ...call, tool: toolOf(told), response: said };
}

export function answer(call: HookCall, { allowed, reason }: ToolAnswer): string {
  return call.phase === "after" ? "{}" : canonicalize({ allowed, reason });
}

interface Told extends JsonObject {
  readonly kind: string;
  readonly title: string;
  readonly arguments: JsonObject;
  readonly paths: JsonValue[];
  readonly diffs: JsonValue[];
}

/** The protocol's kinds of calls in our vocabulary. Other kinds are named by themselves. */
const NAMES: Readonly<Record<string, string>> = {
  read: "Read",
  fs_read: "Read",
  fs_write: "Write",
  delete: "Edit",
  move: "Edit",
  search: "Grep",
  execute: "Bash",
  fetch: "WebFetch",
  think: "TaskUpdate",
};

/** A kind is only a hint, so that a call is looked at as what it has the arguments of. */
function toolOf(told: Told): string {
  const kind = kindOf(told);
  if (kind !== "edit") return Object.hasOwn(NAMES, kind) ? (NAMES[kind] ?? "Other") : "Other";
  const diffs = told.diffs.filter(isObject);
  return diffs.length > 0 && diffs.every((one) => one["isNew"] === true) ? "Write" : "Edit";
}

function kindOf({ kind, arguments: given, diffs }: Told): string {
  if (kind !== "" && kind !== "other") return kind;
  if (commandOf(given) !== undefined) return "execute";
  return diffs.length > 0 ? "edit" : "other";
}

/** What a call does, in our vocabulary; null for what says too little to be judged. */
export function asks({ input }: HookCall): readonly ToolAsk[] | null {
  const told = input as Told;
  switch (kindOf(told)) {
    case "execute":
      return executeAsk(told);
    case "fetch":
      return hostAsk(told.arguments["url"]);
    case "read":
    case "fs_read":
      return each(told, ["file.read"]);
    case "edit":
      return editAsk(told);
    case "fs_write":
      return each(told, ["file.write"]);
    case "delete":
      return each(told, ["file.delete"]);
    case "move":
      return each(told, ["file.delete", "file.write"]);
    default:
      return [];
  }
}

function commandOf({ command, cmd }: JsonObject): JsonValue | undefined {
  return command ?? cmd;
}

/** Some agents say their command as a title for people: it is one of the shell's, whatever it is. */
function executeAsk({ title, arguments: given }: Told): ToolAsk[] | null {
  const command = commandOf(given);
  if (Array.isArray(command)) {
    const words = command.filter((word) => typeof word === "string");
    const [executable, ...argv] = words;
    if (executable === undefined || words.length !== command.length) return null;
    return [{ type: "command.run", resource: executable, params: { argv } }];
  }
  if (command !== undefined) return commandAsk(command);
  if (title.trim() === "") return null;
  return [{ type: "command.run", resource: "bash", params: { argv: ["-c", title] } }];
}

function editAsk(told: Told): ToolAsk[] | null {
  const fresh = told.diffs.filter(isObject).filter((one) => one["isNew"] === true);
  const made = new Set(fresh.map((one) => one["path"]));
  return asksFor(pathsOf(told), (path) => [made.has(path) ? "file.write" : "file.update"]);
}

function each(told: Told, types: readonly string[]): ToolAsk[] | null {
  return asksFor(pathsOf(told), () => types);
}

/** All that a call names: its places, its diffs, and the arguments that hold paths. */
function pathsOf({ paths, diffs, arguments: given }: Told): JsonValue[] {
  const named = ["path", "file_path", "filePath", "filepath", "abs_path", "target"];
  const found = [
    ...paths,
    ...diffs.filter(isObject).flatMap((one) => one["path"] ?? []),
    ...named.flatMap((name) => given[name] ?? []),
  ];
  return [...new Set(found)];
}

function asksFor(
  paths: readonly JsonValue[],
  typesOf: (path: JsonValue) => readonly string[],
): ToolAsk[] | null {
  if (paths.length === 0 || paths.length > PATHS_MAX) return null;
  const found: ToolAsk[] = [];
  for (const path of paths) {
    for (const type of typesOf(path)) {
      const one = fileAsk(type, path);
      if (one === null) return null;
      for (const ask of one) found.push(ask);
    }
  }
  return found;
}
