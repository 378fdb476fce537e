import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { COMMITTER, Git } from "./git.ts";
import { isMisled } from "./own-places.ts";
import { readPlainBytes, readPlainText } from "./plain-files.ts";
import { failed, makeFolder } from "./ref-claim.ts";
import type { UserRepository } from "./user-repository.ts";

const PACKED_BYTES_MAX = 256 * 1024 * 1024;
const ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** What the reflog says of a move. */
export interface MoveNote {
  readonly reason: string;
  /** Seconds since 1970. */
  readonly at: number;
}

/** Where a ref's own file is; HEAD where the name is null. */
export function refFile({ gitDir, commonDir }: UserRepository, ref: string | null): string {
  return ref === null ? join(gitDir, "HEAD") : join(commonDir, ref);
}

/** Where packed refs are, which some link to another repository's. */
export function packedFile({ commonDir }: UserRepository): string {
  const path = join(commonDir, "packed-refs");
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return isLink ? realpathSync(path) : path;
}

/**
 * Refuse what is no full name of a ref by git's own rules (git-check-ref-format(1)), or lies in a
 * folder that leads elsewhere. The name may come from a file of the data folder.
 * @throws ERR_GIT_FAILED
 */
export function requireRefName({ commonDir }: UserRepository, ref: string): void {
  const names = ref.split("/");
  const odd = /[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\.$/;
  const isOdd = (name: string): boolean => /^$|^\.|\.lock$/.test(name);
  if (names[0] !== "refs" || names.length < 3 || odd.test(ref) || names.some(isOdd))
    throw failed(`${JSON.stringify(ref)} is no name of a ref`);
  for (let depth = 1; depth < names.length; depth += 1) {
    const above = names.slice(0, depth).join("/");
    if (isMisled(commonDir, above)) throw failed(`${above} leads elsewhere`);
  }
}

/**
 * What a ref holds, or a detached HEAD: the id. Empty where there is none, and null where it names
 * another ref. To be asked while its lock is held.
 */
export async function refValue(
  repository: UserRepository,
  ref: string | null,
): Promise<string | null> {
  const path = refFile(repository, ref);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isDirectory()) {
    const text = found.isFile() ? readPlainText(path)?.trim() : undefined;
    return text !== undefined && ID.test(text) ? text : null;
  }
  if (ref === null) return null;
  // It may be among the packed ones, which git reads better than we do.
  const git = new Git({ gitDir: repository.gitDir });
  return git.text(["rev-parse", "-q", "--verify", ref], { answers: [1] });
}

/** True where HEAD names this ref. */
export function isAtHead({ gitDir }: UserRepository, ref: string): boolean {
  const path = join(gitDir, "HEAD");
  // Old versions of git made it a link.
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return isLink ? readlinkSync(path) === ref : readPlainText(path)?.trim() === `ref: ${ref}`;
}

/**
 * Let a ref hold this id, in one step.
 * @param temporary on the same disk, of our own; gone afterwards
 */
export function putValue(
  repository: UserRepository,
  ref: string | null,
  id: string,
  temporary: string,
): void {
  const path = refFile(repository, ref);
  putFile(temporary, `${id}\n`, modeFor(repository, path));
  overFolders(path, () => {
    renameSync(temporary, path);
  });
}

/** Say in the reflogs that a ref moves: in its own, and in HEAD's where HEAD names it. */
export function noteMove(
  repository: UserRepository,
  ref: string | null,
  { from, to }: { readonly from: string; readonly to: string },
  { reason, at }: MoveNote,
): void {
  const who = `${COMMITTER.name} <${COMMITTER.email}> ${at} +0000`;
  const line = `${from} ${to} ${who}\t${reason.replaceAll(/\s+/g, " ").trim()}\n`;
  const { gitDir, commonDir } = repository;
  const logs = ref === null ? [] : [join(commonDir, "logs", ref)];
  if (ref === null || isAtHead(repository, ref)) logs.push(join(gitDir, "logs/HEAD"));
  for (const path of logs) append(repository, path, line);
}

function append(repository: UserRepository, path: string, line: string): void {
  makeFolder(dirname(path));
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
  const isNew = statSync(path, { throwIfNoEntry: false }) === undefined;
  const flags = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY;
  const file = overFolders(path, () => openSync(path, flags, 0o644));
  try {
    if (!fstatSync(file).isFile()) throw failed(`${path} is no plain file`);
    if (isNew) fchmodSync(file, modeFor(repository, path));
    writeFileSync(file, line);
  } finally {
    closeSync(file);
  }
}

/** Remove refs that are there, with their logs. The lock of the packed ones is held, too. */
export function removeRefs(repository: UserRepository, refs: readonly string[]): void {
  // First: without its own file a ref would hold again what the packed ones say.
  unpack(repository, refs);
  for (const ref of refs) {
    const path = refFile(repository, ref);
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() !== true)
      rmSync(path, { force: true });
    const log = join(repository.commonDir, "logs", ref);
    if (lstatSync(log, { throwIfNoEntry: false })?.isFile() === true) rmSync(log, { force: true });
  }
}

/** Folders that a removed ref leaves empty would be in the way of a ref of that name. */
export function removeEmptyAbove({ commonDir }: UserRepository, ref: string): void {
  for (const root of [commonDir, join(commonDir, "logs")]) {
    const names = ref.split("/").slice(0, -1);
    for (; names.length > 2 && removeEmpty(join(root, ...names)); names.pop());
  }
}

/** Take refs out of the packed ones, each with what it peels to in the line behind it. */
function unpack(repository: UserRepository, refs: readonly string[]): void {
  const path = packedFile(repository);
  const bytes = readPlainBytes(path, PACKED_BYTES_MAX);
  if (bytes === null) return;
  const gone = new Set(refs);
  let isGone = false;
  const lines = bytes.toString("latin1").split("\n");
  const kept = lines.filter((line) => {
    if (!line.startsWith("^")) isGone = gone.has(nameIn(line));
    return !isGone;
  });
  if (kept.length === lines.length) return;
  // By this name git knows it for what comes into the place of the packed refs.
  const next = `${path}.new`;
  putFile(next, Buffer.from(kept.join("\n"), "latin1"), modeFor(repository, path));
  renameSync(next, path);
}

function nameIn(line: string): string {
  return Buffer.from(line.slice(line.indexOf(" ") + 1), "latin1").toString("utf8");
}

/** As the file that it replaces, or as HEAD, which git made for who may use the repository. */
function modeFor({ gitDir }: UserRepository, path: string): number {
  const like = [path, join(gitDir, "HEAD")].map((one) => statSync(one, { throwIfNoEntry: false }));
  return (like.find((found) => found?.isFile() === true)?.mode ?? 0o644) & 0o666;
}

function putFile(path: string, content: string | Uint8Array, mode: number): void {
  rmSync(path, { recursive: true, force: true });
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = openSync(path, flags, 0o600);
  try {
    writeFileSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  chmodSync(path, mode);
}

/** Empty folders, as refs leave them that are packed, are no reason to fail. */
function overFolders<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== "EISDIR" && code !== "ENOTEMPTY" && code !== "EEXIST") throw cause;
    removeEmptyBelow(path);
  }
  try {
    return work();
  } catch (cause) {
    throw failed(`${path} cannot be written`, cause);
  }
}

function removeEmptyBelow(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyBelow(join(folder, entry.name));
  }
  removeEmpty(folder);
}

function removeEmpty(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    // Something is in it, or it is not there.
    return false;
  }
}
