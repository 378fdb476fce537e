import {
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import {
  type ActionContext,
  type ActionParams,
  type ActionType,
  quoted,
  SovereignError,
  sha256Hex,
} from "@sovereign/core";
import { defineEffect, type Effect, type TypedInvocation } from "../kernel/index.ts";
import { type PathProbe, resolveOnDisk } from "../policy/index.ts";
import { editText } from "./edit-file.ts";
import { treeOutput } from "./effect-output.ts";
import { patchFile } from "./patch-file.ts";
import { removeContent } from "./repository/tree-content.ts";
import type { Workspace } from "./workspace.ts";

/** The bytes of a request's contents, by their digest. */
export type ContentSource = (sha256: string) => Uint8Array | null;

type FileType = Extract<ActionType, `file.${string}`>;

/** Where an operation changes another path, too, it says which. */
type Work = Promise<string | undefined> | string | undefined;

/** What the file operations do: in the run's own tree, on paths that are plainly below its root. */
export function createFileEffects(
  workspace: Workspace,
  contents: ContentSource,
): Readonly<Record<string, Effect>> {
  const change = <T extends FileType>(
    type: T,
    work: (path: string, params: ActionParams<T>, context: ActionContext) => Work,
  ): Readonly<Record<string, Effect>> => ({
    [type]: defineEffect(type, async ({ action, context, params }: TypedInvocation<T>) => {
      const { before: tree } = params;
      await workspace.require(tree);
      const path = resolveOnDisk(workspace.root, action.resource, diskProbe);
      await workspace.requirePlain(tree, path);
      const other = await work(path, params, context);
      const paths = other === undefined ? [path] : [path, other];
      return treeOutput(await workspace.harvest(tree, paths, context));
    }),
  });
  const write = (path: string, params: ActionParams<"file.write">, mustExist: boolean): void => {
    requireFile(workspace.root, path, mustExist);
    const bytes = contentOf(contents, params.sha256);
    requireSize(path, bytes, workspace.limits.fileBytesMax);
    writePlain(join(workspace.root, path), bytes, params.executable);
  };
  return {
    ...change("file.write", (path, params): undefined => {
      write(path, params, false);
    }),
    ...change("file.update", (path, params): undefined => {
      write(path, params, true);
    }),
    ...change("file.patch", async (path, { sha256 }, context): Promise<undefined> => {
      requireFile(workspace.root, path, false);
      await patchFile(workspace, path, contentOf(contents, sha256));
      // A patch may leave no file: that is asked for as if it was said so.
      if (isAbsent(workspace.root, path)) workspace.requireDecided("file.delete", path, context);
    }),
    ...change("file.edit", (path, { sha256 }): undefined => {
      requireFile(workspace.root, path, true);
      const place = join(workspace.root, path);
      const bytes = editText(path, readFileSync(place), contentOf(contents, sha256));
      requireSize(path, bytes, workspace.limits.fileBytesMax);
      writePlain(place, bytes, false);
    }),
    ...change("file.rename", async (path, { before: tree, from }) => {
      const source = resolveOnDisk(workspace.root, from, diskProbe);
      await workspace.requirePlain(tree, source);
      requireFile(workspace.root, source, true);
      if (!isAbsent(workspace.root, path)) {
        const text = `The path ${quoted(path)} is refused: expected nothing there, for it is renamed to.`;
        throw new SovereignError("ERR_PATH_REFUSED", text);
      }
      mkdirSync(dirname(join(workspace.root, path)), { recursive: true });
      renameSync(join(workspace.root, source), join(workspace.root, path));
      return source;
    }),
    ...change("file.delete", (path): undefined => {
      requireFile(workspace.root, path, true);
      removeContent(workspace.root, path);
    }),
    ...change("file.mkdir", (path): undefined => {
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

function isAbsent(root: string, path: string): boolean {
  return lstatSync(join(root, path), { throwIfNoEntry: false }) === undefined;
}

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
