import { Budget, OBJECT_BYTES_MAX } from "./budget.ts";
import { applyDelta } from "./delta.ts";
import { diffTrees, type TreeChange } from "./git-tree.ts";
import type { ObjectStore } from "./object-store.ts";
import { patchProblem } from "./patch-lines.ts";
import { type FilePatch, type Hunk, parsePatch } from "./patch-text.ts";
import { expectEqual } from "../step-recorder.ts";
import { unpack } from "./unpack.ts";

/**
 * Hold a patch against two trees: it names each file that differs and no other, with the modes and
 * ids on both sides, and its content applied to the one gives the other, byte for byte.
 *
 * @param patch untrusted but for its digest
 * @returns what differs, by path, each character one byte
 * @throws ERR_VERIFY_INVALID when it leads elsewhere; ERR_GIT_OBJECT_… when the repository does not
 *   hold what is needed
 */
export function verifyPatch(
  objects: ObjectStore,
  patch: Uint8Array,
  expected: { readonly commit: string; readonly before: string; readonly after: string },
): ReadonlyMap<string, TreeChange> {
  const { commit, files } = parsePatch(patch);
  if (commit !== expected.commit) throw patchProblem(`it is of the commit ${commit}`);
  const changes = diffTrees(objects, expected.before, expected.after);
  const halves = new Map<string, FilePatch[]>();
  for (const file of files) halves.set(file.path, [...(halves.get(file.path) ?? []), file]);
  const other = [...halves.keys()].find((path) => !changes.has(path));
  if (other !== undefined) throw differs(other, "the commit does not change it");
  for (const [path, change] of changes) verifyFile(objects, path, change, halves.get(path) ?? []);
  return changes;
}

/**
 * Hold what a patch says of one file against what changed.
 *
 * @param patch untrusted: the file's part alone
 * @param path each character one byte
 * @throws as {@link verifyPatch}
 */
export function verifyFilePatch(
  objects: ObjectStore,
  patch: Uint8Array,
  path: string,
  change: TreeChange,
): void {
  const none = "0".repeat((change.before ?? change.after)?.id.length ?? 40);
  const head = Buffer.from(`From ${none} Mon Sep 17 00:00:00 2001\n`);
  const { files } = parsePatch(new Uint8Array(Buffer.concat([head, patch])));
  const other = files.find((one) => one.path !== path);
  if (other !== undefined) throw differs(path, `the patch is of ${other.path}`);
  verifyFile(objects, path, change, files);
}

/** A file that becomes a link, or the other way round, is deleted and made anew. */
function verifyFile(
  objects: ObjectStore,
  path: string,
  change: TreeChange,
  halves: readonly FilePatch[],
): void {
  const { before, after } = change;
  const [first, second] = halves;
  if (first === undefined) throw differs(path, "the commit changes it, and the patch does not");
  if (halves.length > 2) throw differs(path, "the patch changes it more than twice");
  if (second === undefined) verifyHalf(objects, first, change);
  else {
    verifyHalf(objects, first, { before, after: null });
    verifyHalf(objects, second, { before: null, after });
  }
}

function verifyHalf(objects: ObjectStore, file: FilePatch, { before, after }: TreeChange): void {
  const { path, modes, ids } = file;
  const none = "0".repeat((before ?? after)?.id.length ?? 0);
  const from = before ?? { mode: null, id: none };
  const to = after ?? { mode: null, id: none };
  expectEqual(`${modes.before} ${modes.after}`, `${from.mode} ${to.mode}`, `The modes of ${path}`);
  // Where a mode alone changes, the patch speaks of no content.
  const named = ids ?? { before: from.id, after: from.id };
  const blobs = `${named.before} ${named.after}`;
  expectEqual(blobs, `${from.id} ${to.id}`, `The contents of ${path} in the patch`);
  if (ids === null) return;
  const old = before === null ? new Uint8Array() : objects.read(before.id, "blob");
  const bytes = applyBody(old, file);
  // Bytes are held against bytes: two contents can be made that have one SHA-1.
  const wanted = after === null ? new Uint8Array() : objects.read(after.id, "blob");
  if (Buffer.compare(bytes, wanted) !== 0) throw differs(path, "applied, it gives other bytes");
}

function applyBody(old: Uint8Array, { path, body }: FilePatch): Uint8Array {
  if (body.kind === "none") return old;
  if (body.kind === "text") return applyHunks(old, path, body.hunks);
  const bytes = unpack(body.packed, body.size, `the patch of ${path}`);
  const budget = new Budget(OBJECT_BYTES_MAX);
  return body.kind === "literal"
    ? bytes
    : applyDelta(old, bytes, (count) => {
        budget.spend(count);
      });
}

function applyHunks(old: Uint8Array, path: string, hunks: readonly Hunk[]): Uint8Array {
  const lines = linesOf(old);
  const result: Uint8Array[] = [];
  let at = 0;
  const take = (): Uint8Array => {
    const line = lines[at];
    if (line === undefined) throw differs(path, "a hunk stands behind the end");
    at += 1;
    return line;
  };
  for (const { from, lines: changed } of hunks) {
    // Where nothing is taken away, the place is the line before.
    const start = changed.some((line) => line.sign !== "+") ? from - 1 : from;
    if (start < at) throw differs(path, "a hunk stands before the one before it");
    while (at < start) result.push(take());
    for (const { sign, bytes } of changed) {
      if (sign !== "+" && Buffer.compare(take(), bytes) !== 0) {
        throw differs(path, "a hunk is about other lines");
      }
      if (sign !== "-") result.push(bytes);
    }
  }
  return new Uint8Array(Buffer.concat(result.concat(lines.slice(at))));
}

/** With their ends; the last may have none. */
function linesOf(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0x0a, at);
    const next = end < 0 ? bytes.length : end + 1;
    lines.push(bytes.subarray(at, next));
    at = next;
  }
  return lines;
}

function differs(path: string, why: string): ReturnType<typeof patchProblem> {
  return patchProblem(`${path}: ${why}`);
}
