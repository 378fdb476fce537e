import {
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import {
  type ActionParams,
  type ActionType,
  quoted,
  SovereignError,
  sha256Hex,
} from "@sovereign/core";
import { defineEffect, type Effect, type TypedInvocation } from "../kernel/index.ts";
import { type PathProbe, resolveOnDisk } from "../policy/index.ts";
import { treeOutput } from "./effect-output.ts";
import { patchFile } from "./patch-file.ts";
import { removeContent } from "./repository/tree-content.ts";
import type { Workspace } from "./workspace.ts";

/** The bytes of a request's contents, by their digest. */
export type ContentSource = (sha256: string) => Uint8Array | null;

type FileType = Extract<ActionType, `file.${string}`>;

/** What the file operations do: in the run's own tree, on paths that are plainly below its root. */
export function createFileEffects(
  workspace: Workspace,
  contents: ContentSource,
): Readonly<Record<string, Effect>> {
  const change = <T extends FileType>(
    type: T,
    work: (path: string, params: ActionParams<T>) => Promise<void> | void,
  ): Readonly<Record<string, Effect>> => ({
    [type]: defineEffect(type, async ({ action, context, params }: TypedInvocation<T>) => {
      const { before: tree } = params;
      await workspace.require(tree);
      const path = resolveOnDisk(workspace.root, action.resource, diskProbe);
      await workspace.requirePlain(tree, path);
      await work(path, params);
      return treeOutput(await workspace.harvest(tree, [path], context));
    }),
  });
  const write = (path: string, params: ActionParams<"file.write">, mustExist: boolean): void => {
    requireFile(workspace.root, path, mustExist);
    const bytes = contentOf(contents, params.sha256);
    requireSize(path, bytes, workspace.limits.fileBytesMax);
    writePlain(join(workspace.root, path), bytes, params.executable);
  };
  return {
    ...change("file.write", (path, params) => {
      write(path, params, false);
    }),
    ...change("file.update", (path, params) => {
      write(path, params, true);
    }),
    ...change("file.patch", (path, { sha256 }) => {
      requireFile(workspace.root, path, false);
      return patchFile(workspace, path, contentOf(contents, sha256));
    }),
    ...change("file.delete", (path) => {
      requireFile(workspace.root, path, true);
      removeContent(workspace.root, path);
    }),
    ...change("file.mkdir", (path) => {
      mkdirSync(join(workspace.root, path), { recursive: true });
    }),
  };
}

/** The real file system, without following a last link. */
export const diskProbe: PathProbe = {
  lstat: (path) => {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return null;
    const { nlink: links } = found;
    if (found.isSymbolicLink()) return { kind: "link", links };
    if (found.isDirectory()) return { kind: "folder", links };
    return { kind: found.isFile() ? "file" : "other", links };
  },
};

function requireFile(root: string, path: string, mustExist: boolean): void {
  const found = lstatSync(join(root, path), { throwIfNoEntry: false });
  if (found === undefined ? !mustExist : found.isFile()) return;
  const what = found === undefined ? "is not there" : "is a folder";
  const text = `The path ${quoted(path)} is refused: expected a file, and it ${what}.`;
  throw new SovereignError("ERR_PATH_REFUSED", text);
}

function contentOf(contents: ContentSource, sha256: string): Uint8Array {
  const bytes = contents(sha256);
  if (bytes !== null && sha256Hex(bytes) === sha256) return bytes;
  const text = `The request's content with SHA-256 ${sha256} is not there.`;
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}

function requireSize(path: string, bytes: Uint8Array, most: number): void {
  if (bytes.length <= most) return;
  const text = `Too much: ${quoted(path)} would have ${bytes.length} bytes; allowed ${most}.`;
  throw new SovereignError("ERR_CHANGE_FILE_SIZE", text);
}

function writePlain(path: string, bytes: Uint8Array, executable: boolean): void {
  mkdirSync(dirname(path), { recursive: true });
  const found = lstatSync(path, { throwIfNoEntry: false });
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
  const fd = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644);
  try {
    writeFileSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
  if (executable || found === undefined) chmodSync(path, executable ? 0o755 : 0o644);
}
