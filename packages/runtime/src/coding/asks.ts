import type { JsonValue } from "@sovereign/core";
import { posix } from "node:path";
import type { ToolAsk } from "./adapter.ts";

const WORKSPACE = "/workspace";
/** What is thrown away with the run, and seen by nobody else. */
const OWN = ["/tmp", "/home/agent"];

/** @returns null for what is no path; nothing where the file is thrown away with the run */
export function fileAsk(type: string, path: JsonValue | undefined): ToolAsk[] | null {
  const resource = fileOf(path);
  if (resource === null) return null;
  return OWN.some((folder) => resource.startsWith(`${folder}/`))
    ? []
    : [{ type, resource, params: {} }];
}

/**
 * A path as an agent gives it: as policy knows it where it is in the repository, else absolute.
 * @returns null for what is no path
 */
export function fileOf(path: JsonValue | undefined): string | null {
  if (typeof path !== "string" || path === "" || path.includes("\0")) return null;
  const absolute = posix.resolve(WORKSPACE, path);
  const isInside = absolute.startsWith(`${WORKSPACE}/`);
  return isInside ? absolute.slice(WORKSPACE.length + 1) : absolute;
}

/** Words that no shell changes are a command of these words; anything else is one of the shell's. */
const PLAIN = /^[A-Za-z0-9_@%+=:,./ -]+$/;

export function commandAsk(command: JsonValue | undefined): ToolAsk[] | null {
  if (typeof command !== "string" || command.trim() === "") return null;
  const words = command.trim().split(/ +/);
  const [executable = "", ...argv] = words;
  const plain = PLAIN.test(command) && /^[A-Za-z0-9_./-]+$/.test(executable);
  if (plain) return [{ type: "command.run", resource: executable, params: { argv } }];
  return [{ type: "command.run", resource: "bash", params: { argv: ["-c", command] } }];
}

export function hostAsk(url: JsonValue | undefined): ToolAsk[] | null {
  if (typeof url !== "string" || !URL.canParse(url)) return null;
  const { hostname } = new URL(url);
  return hostname === "" ? null : [{ type: "http.call", resource: hostname, params: {} }];
}
