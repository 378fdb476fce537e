import type { ToolAsk } from "./adapter.ts";
import { fileAsk } from "./asks.ts";

/** A file that a patch in the form of Codex's makes, changes or takes away. */
export interface PatchedFile {
  readonly kind: "add" | "update" | "delete";
  readonly path: string;
  /** Where it is moved to; null where it stays. */
  readonly to: string | null;
}

const HEADERS = [
  ["add", "*** Add File: "],
  ["update", "*** Update File: "],
  ["delete", "*** Delete File: "],
] as const;
const MOVE = "*** Move to: ";

/**
 * The files that a patch names. Codex reads its headers with spaces before and behind them, so all
 * that could be one counts as one: a file too many is asked about, and none too few.
 *
 * @param text untrusted
 * @returns null for what names no file, or moves what it does not change
 */
export function filesOfPatch(text: string): PatchedFile[] | null {
  const files: PatchedFile[] = [];
  for (const raw of text.split("\n")) {
    const line = raw.trim();
    const header = HEADERS.find(([, word]) => line.startsWith(word));
    if (header !== undefined) {
      const [kind, word] = header;
      files.push({ kind, path: line.slice(word.length), to: null });
      continue;
    }
    if (!line.startsWith(MOVE)) continue;
    const moved = files.pop();
    if (moved?.kind !== "update" || moved.to !== null) return null;
    files.push({ ...moved, to: line.slice(MOVE.length) });
  }
  return files.length === 0 ? null : files;
}

const TYPES = { add: "file.write", update: "file.update", delete: "file.delete" } as const;

/** What a patch is in our vocabulary: one that only makes files writes. */
export function toolOfPatch(files: readonly PatchedFile[] | null): "Write" | "Edit" {
  return files?.every(({ kind }) => kind === "add") === true ? "Write" : "Edit";
}

/** Of a patch that also makes files, the leave to do so is asked for besides. */
export function patchAsks(files: readonly PatchedFile[] | null): ToolAsk[] | null {
  if (files === null) return null;
  const asked: ToolAsk[] = [];
  const makes = files.some(({ kind, to }) => kind === "add" || to !== null);
  if (toolOfPatch(files) !== "Write" && makes) {
    asked.push({ type: "agent.tool_call", resource: "Write", params: {} });
  }
  for (const { kind, path, to } of files) {
    const parts = [
      fileAsk(to === null ? TYPES[kind] : "file.delete", path),
      to === null ? [] : fileAsk("file.write", to),
    ];
    for (const part of parts) {
      if (part === null) return null;
      for (const ask of part) asked.push(ask);
    }
  }
  return asked;
}
