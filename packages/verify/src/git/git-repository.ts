import { existsSync, lstatSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Budget } from "./budget.ts";
import { readGitText } from "./git-file.ts";
import { unreadable } from "./git-problem.ts";
import { ObjectStore } from "./object-store.ts";
import { Refs } from "./refs.ts";
import { readObjectFormat } from "./repository-config.ts";

const POINTER_BYTES_MAX = 8192;
const SHALLOW_BYTES_MAX = 16 * 1024 * 1024;

/** A git repository, read from its files: no program of git's is started, none that it names. */
export interface GitRepository {
  readonly folder: string;
  readonly objects: ObjectStore;
  readonly refs: Refs;
  /** Commits whose parents a shallow clone left out. */
  readonly shallow: ReadonlySet<string>;
}

/**
 * Open the repository that a folder belongs to. All of it is untrusted.
 *
 * @param folder in a work tree, or a bare repository
 * @throws ERR_REPOSITORY_UNREADABLE with what to do about it
 */
export function openGitRepository(folder: string, budget?: Budget): GitRepository {
  const gitDir = findGitDir(folder);
  const commonDir = commonDirOf(gitDir);
  const objects = join(commonDir, "objects");
  if (!isFolder(objects)) throw unreadable(folder, "it has no folder of objects");
  const format = readObjectFormat(join(commonDir, "config"), folder);
  const shallow = readGitText(join(commonDir, "shallow"), SHALLOW_BYTES_MAX) ?? "";
  return {
    folder,
    objects: new ObjectStore(objects, format, budget),
    refs: new Refs(gitDir, commonDir),
    shallow: new Set(shallow.split("\n").filter((line) => line !== "")),
  };
}

function findGitDir(folder: string): string {
  let at: string;
  try {
    at = realpathSync(folder);
  } catch (cause) {
    throw unreadable(folder, "there is no such folder", cause);
  }
  for (;;) {
    const dotGit = join(at, ".git");
    if (existsSync(dotGit)) return isFolder(dotGit) ? dotGit : pointedTo(dotGit);
    if (isGitDir(at)) return at;
    if (dirname(at) === at) throw unreadable(folder, "it is in no git repository");
    at = dirname(at);
  }
}

/** A linked work tree and a submodule have a file that names their folder. */
function pointedTo(file: string): string {
  const text = lstatSync(file).isFile() ? readGitText(file, POINTER_BYTES_MAX) : null;
  const target = /^gitdir: (.+?)\r?\n?$/.exec(utf8(text ?? ""))?.[1];
  const folder = target === undefined ? null : resolve(dirname(file), target);
  if (folder !== null && isGitDir(folder)) return realpathSync(folder);
  throw unreadable(file, "expected one line `gitdir: …` that names a repository's folder");
}

function commonDirOf(gitDir: string): string {
  const text = readGitText(join(gitDir, "commondir"), POINTER_BYTES_MAX);
  if (text === null) return gitDir;
  const folder = resolve(gitDir, utf8(text).trim());
  if (isFolder(folder)) return realpathSync(folder);
  throw unreadable(gitDir, "the repository that it is a work tree of has gone");
}

function isGitDir(folder: string): boolean {
  const shared = existsSync(join(folder, "commondir")) || isFolder(join(folder, "objects"));
  return shared && existsSync(join(folder, "HEAD"));
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function utf8(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}
