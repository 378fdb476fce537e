import { canonicalBytes, sha256Hex } from "@sovereign/core";
import { fileOf } from "../../asks.ts";
import type { PatchedFile } from "../../patch.ts";
import { wordsOf } from "./words.ts";

/**
 * Codex's output does not name its calls by the ids that its hooks are told. What stands in both is
 * what a call does: so its mark is the command, or the files of the patch.
 */
export function markOfCommand(command: string): string {
  return markOf("command", command);
}

/** Of a command as the output prints it: the shell's words, the last of which is what was asked for. */
export function markOfPrinted(printed: string): string {
  const words = wordsOf(printed) ?? [];
  const [shell = "", option = "", command, ...more] = words;
  const isShell = /(?:^|\/)(?:ba|z|da)?sh$/.test(shell) && /^-l?c$/.test(option);
  return markOfCommand(isShell && command !== undefined && more.length === 0 ? command : printed);
}

/** In any order, and each file once: the output does not say how often a patch names it. */
export function markOfPatch(files: readonly Pick<PatchedFile, "kind" | "path">[]): string {
  const named = files.map(({ kind, path }) => `${kind} ${fileOf(path) ?? ""}`);
  return markOf("patch", [...new Set(named)].toSorted());
}

/** Of what is no call that the hooks know. */
export function markOfOther(type: string): string {
  return markOf("other", type);
}

function markOf(kind: string, what: string | string[]): string {
  return sha256Hex(canonicalBytes([kind, what]));
}
