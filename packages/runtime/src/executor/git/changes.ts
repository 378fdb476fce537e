import {
  type ErrorCode,
  isSovereignError,
  judgeTree,
  quoted,
  SovereignError,
} from "@sovereign/core";
import { resolvePath } from "../../policy/index.ts";
import type { Git } from "./git.ts";
import { applyChanges, type TreeNames } from "./tree-names.ts";

/** The kinds of entry that a git tree can hold. */
export type EntryKind = "file" | "executable" | "link" | "gitlink";

/** One path that differs between two trees, as git says; renames are a removal and an addition. */
export interface Change {
  readonly path: string;
  readonly status: "added" | "modified" | "deleted";
  readonly before: EntryKind | null;
  readonly after: EntryKind | null;
  /** Git's ids of the contents; null where there is none. */
  readonly beforeBlob: string | null;
  readonly afterBlob: string | null;
  /** Of the content after; 0 where it is deleted. */
  readonly bytes: number;
  /** Where a link points, as written; null for everything else. */
  readonly target: string | null;
}

export interface ChangeLimits {
  readonly filesMax: number;
  readonly fileBytesMax: number;
  readonly totalBytesMax: number;
}

const LINK_BYTES_MAX = 4096;

/**
 * What differs between two trees.
 * @throws ERR_CHANGE_REFUSED for a name that is not UTF-8: policy could not speak of it
 */
export async function readChanges(git: Git, before: string, after: string): Promise<Change[]> {
  const raw = await git.bytes([
    "diff-tree",
    ...["-r", "-z", "--raw", "--no-renames", "--full-index", "--no-ext-diff", "--no-textconv"],
    before,
    after,
  ]);
  const changes = parseRaw(raw);
  const blobs = changes.flatMap((one) =>
    one.afterBlob === null || one.after === "gitlink" ? [] : [one.afterBlob],
  );
  const sizes = await sizesOf(git, blobs);
  const sized: Change[] = [];
  for (const change of changes) {
    const bytes = change.afterBlob === null ? 0 : (sizes.get(change.afterBlob) ?? 0);
    const target = change.after === "link" ? await readLink(git, change, bytes) : null;
    sized.push({ ...change, bytes, target });
  }
  return sized;
}

/** `:oldmode newmode oldid newid status\0path\0`, repeated. */
function parseRaw(raw: Uint8Array): Change[] {
  const fields = splitZero(Buffer.from(raw));
  const changes: Change[] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const words = (fields[at] as Buffer).toString("latin1").slice(1).split(" ");
    const [oldMode = "", newMode = "", oldId = "", newId = ""] = words;
    const before = kindOf(oldMode);
    const after = kindOf(newMode);
    changes.push({
      path: decodePath(fields[at + 1] as Buffer),
      status: before === null ? "added" : after === null ? "deleted" : "modified",
      before,
      after,
      beforeBlob: before === null ? null : oldId,
      afterBlob: after === null ? null : newId,
      bytes: 0,
      target: null,
    });
  }
  return changes;
}

function splitZero(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(0, from);
    const to = end < 0 ? bytes.length : end;
    parts.push(bytes.subarray(from, to));
    from = to + 1;
  }
  return parts;
}

function decodePath(bytes: Buffer): string {
  const text = bytes.toString("utf8");
  if (Buffer.from(text, "utf8").equals(bytes)) return text;
  throw refused(bytes.toString("latin1"), "its name is not UTF-8");
}

const KINDS: Readonly<Record<string, EntryKind | null>> = {
  "000000": null,
  "100644": "file",
  "100755": "executable",
  "120000": "link",
  "160000": "gitlink",
};

function kindOf(mode: string): EntryKind | null {
  const kind = KINDS[mode];
  if (kind === undefined) throw refused(mode, "git speaks of a mode that we do not know");
  return kind;
}

async function sizesOf(git: Git, blobs: readonly string[]): Promise<Map<string, number>> {
  if (blobs.length === 0) return new Map();
  const format = "--batch-check=%(objectname) %(objectsize)";
  const said = await git.text(["cat-file", format], { input: `${blobs.join("\n")}\n` });
  const rows = said.split("\n").map((line) => line.split(" "));
  return new Map(rows.map(([id = "", size = ""]) => [id, Number(size)]));
}

async function readLink(git: Git, change: Change, bytes: number): Promise<string> {
  if (bytes > LINK_BYTES_MAX) throw refused(change.path, "the link's target is too long");
  const blob = await git.bytes(["cat-file", "blob", change.afterBlob ?? ""]);
  return decodePath(Buffer.from(blob));
}

/**
 * Refuse what no step may change, whatever the policy says, and what is above the limits.
 *
 * @param names of the tree after the changes; without them, they are judged as if alone in it
 * @returns the changed paths that tools on other machines run, which policy must give leave for
 * @throws ERR_CHANGE_REFUSED, ERR_CHANGE_FILES, ERR_CHANGE_FILE_SIZE, ERR_CHANGE_TOTAL
 */
export function judgeChanges(
  changes: readonly Change[],
  limits: ChangeLimits,
  names: TreeNames = applyChanges(new Map(), changes),
): readonly string[] {
  if (changes.length > limits.filesMax) {
    const found = `${changes.length} files changed; the policy allows ${limits.filesMax}`;
    throw over("ERR_CHANGE_FILES", found);
  }
  let total = 0;
  for (const change of changes) {
    judgeEntry(change);
    total += change.bytes;
    if (change.bytes > limits.fileBytesMax) {
      const found = `${shown(change.path)} has ${change.bytes} bytes; allowed ${limits.fileBytesMax}`;
      throw over("ERR_CHANGE_FILE_SIZE", found);
    }
  }
  if (total > limits.totalBytesMax) {
    const found = `the changes have ${total} bytes; allowed ${limits.totalBytesMax}`;
    throw over("ERR_CHANGE_TOTAL", found);
  }
  return judgePaths(
    names,
    changes.map((one) => one.path),
  );
}

/**
 * Judge paths by the tree that they are changed in.
 *
 * @returns those that tools on other machines run
 * @throws ERR_CHANGE_REFUSED
 */
export function judgePaths(names: TreeNames, paths: readonly string[]): readonly string[] {
  const { refused: wrong, hostRun } = judgeTree(names, paths);
  const [first] = wrong;
  if (first !== undefined) throw refused(first.path, first.why);
  return hostRun;
}

function judgeEntry(change: Change): void {
  const { path } = change;
  try {
    resolvePath(path);
  } catch (error) {
    if (!isSovereignError(error, "ERR_PATH_REFUSED")) throw error;
    throw refused(path, error.message);
  }
  if (change.before === "gitlink" || change.after === "gitlink") {
    throw refused(path, "it is a repository inside the repository");
  }
}

function refused(path: string, why: string): SovereignError {
  const text = `The change of ${shown(path)} is refused: ${why}.`;
  return new SovereignError("ERR_CHANGE_REFUSED", text, { path: path.slice(0, 200) });
}

function over(code: ErrorCode, found: string): SovereignError {
  return new SovereignError(code, `Too much: ${found}.`);
}

function shown(text: string): string {
  return quoted(text);
}
