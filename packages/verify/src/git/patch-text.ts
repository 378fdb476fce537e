import { unquoteGitName } from "@sovereign/core";
import { decodeBase85Line } from "./base85.ts";
import { OBJECT_BYTES_MAX } from "./budget.ts";
import { latin1 } from "./git-file.ts";
import { PatchLines, patchProblem } from "./patch-lines.ts";

/** Some lines of a file with what becomes of them. */
export interface Hunk {
  /** The first line that it is about, counted from 1; 0 in a file without lines. */
  readonly from: number;
  readonly lines: readonly HunkLine[];
}

export interface HunkLine {
  readonly sign: " " | "-" | "+";
  /** With its line end, where it has one. */
  readonly bytes: Uint8Array;
}

export type PatchBody =
  | { readonly kind: "none" }
  | { readonly kind: "text"; readonly hunks: readonly Hunk[] }
  | { readonly kind: "literal" | "delta"; readonly size: number; readonly packed: Uint8Array };

/** What a patch says of one file. Paths and modes as git has them; null where there is no file. */
export interface FilePatch {
  readonly path: string;
  readonly modes: { readonly before: string | null; readonly after: string | null };
  /** Null where the content stays as it is. */
  readonly ids: { readonly before: string; readonly after: string } | null;
  readonly body: PatchBody;
}

const FILES_MAX = 200_000;

/**
 * Read a patch of `git format-patch --binary --full-index --no-renames`.
 *
 * @param bytes untrusted
 * @returns the commit that its first line names, and the files in their order
 * @throws ERR_VERIFY_INVALID for anything else
 */
export function parsePatch(bytes: Uint8Array): { commit: string; files: FilePatch[] } {
  const lines = new PatchLines(bytes);
  const commit = /^From ([0-9a-f]{40,64}) /.exec(lines.next() ?? "")?.[1];
  if (commit === undefined) throw patchProblem("it does not begin with its commit");
  while (lines.peek()?.startsWith("diff --git ") === false) lines.next();
  const files: FilePatch[] = [];
  for (let line = lines.next(); line !== null; line = lines.next()) {
    if (line === "" && lines.peek() === null) break;
    if (!line.startsWith("diff --git ")) throw patchProblem("a line of it belongs to no file");
    files.push(parseFile(lines, line.slice("diff --git ".length)));
    if (files.length > FILES_MAX) throw patchProblem(`it changes more than ${FILES_MAX} files`);
  }
  return { commit, files };
}

function parseFile(lines: PatchLines, names: string): FilePatch {
  const path = pathOf(names);
  const said = modeLines(lines);
  const index = INDEX.exec(lines.peek() ?? "");
  if (index === null)
    return { path, modes: modesOf(said, null), ids: null, body: { kind: "none" } };
  lines.next();
  const [, before = "", after = "", mode = null] = index;
  return { path, modes: modesOf(said, mode), ids: { before, after }, body: parseBody(lines) };
}

const INDEX = /^index ([0-9a-f]{40,64})\.\.([0-9a-f]{40,64})(?: (\d{6}))?$/;

/** What stands between a file's names and its content, such as `new file` → `100644`. */
function modeLines(lines: PatchLines): Map<string, string> {
  const said = new Map<string, string>();
  for (;;) {
    const found = /^(old|new|new file|deleted file) mode (\d{6})$/.exec(lines.peek() ?? "");
    if (found === null) return said;
    lines.next();
    const [, what = "", mode = ""] = found;
    said.set(what, mode);
  }
}

/** @param both the mode in the line of ids, which a file has whose mode stays */
function modesOf(said: ReadonlyMap<string, string>, both: string | null): FilePatch["modes"] {
  const kinds = [...said.keys()].join();
  const mode = (what: string): string | null => said.get(what) ?? null;
  if (kinds === "" && both !== null) return { before: both, after: both };
  if (both !== null) throw patchProblem("a file of it has too many modes");
  if (kinds === "new file") return { before: null, after: mode(kinds) };
  if (kinds === "deleted file") return { before: mode(kinds), after: null };
  if (kinds === "old,new") return { before: mode("old"), after: mode("new") };
  throw patchProblem("a file of it has no mode");
}

/** The same name twice, behind `a/` and `b/`: nothing is renamed. */
function pathOf(names: string): string {
  const half = (names.length - 1) / 2;
  const [a, b] = [names.slice(0, half), names.slice(half + 1)].map(unquoteGitName);
  const path = a?.slice(2) ?? "";
  if (path !== "" && a === `a/${path}` && b === `b/${path}`) return path;
  throw patchProblem("a file of it has two names, or none");
}

function parseBody(lines: PatchLines): PatchBody {
  if (lines.peek() === "GIT binary patch") {
    lines.next();
    const forward = parseBinary(lines);
    // The way back: it must be there, and says nothing that is needed.
    parseBinary(lines);
    return forward;
  }
  if (lines.peek()?.startsWith("--- ") !== true) return { kind: "text", hunks: [] };
  lines.next();
  if (lines.next()?.startsWith("+++ ") !== true) throw patchProblem("a file has no second name");
  const hunks: Hunk[] = [];
  while (lines.peek()?.startsWith("@@ ") === true) hunks.push(parseHunk(lines));
  return { kind: "text", hunks };
}

function parseBinary(lines: PatchLines): Extract<PatchBody, { kind: "literal" | "delta" }> {
  const [, kind, size = ""] = /^(literal|delta) (\d{1,10})$/.exec(lines.next() ?? "") ?? [];
  if (kind === undefined || Number(size) > OBJECT_BYTES_MAX) {
    throw patchProblem("a binary file of it has no size, or one that is too large");
  }
  const parts: Uint8Array[] = [];
  for (let line = lines.next(); line !== ""; line = lines.next()) {
    const part = decodeBase85Line(line ?? "");
    if (part === null) throw patchProblem("a binary file of it is not in base 85");
    parts.push(part);
  }
  const packed = new Uint8Array(Buffer.concat(parts));
  return { kind: kind === "delta" ? "delta" : "literal", size: Number(size), packed };
}

const HUNK = /^@@ -(\d{1,10})(?:,(\d{1,10}))? \+(\d{1,10})(?:,(\d{1,10}))? @@/;

function parseHunk(lines: PatchLines): Hunk {
  const found = HUNK.exec(lines.next() ?? "");
  if (found === null) throw patchProblem("a hunk of it has no place");
  const [, from, before = "1", , after = "1"] = found;
  let [old, now] = [Number(before), Number(after)];
  const parsed: HunkLine[] = [];
  while (old > 0 || now > 0) {
    const line = parseHunkLine(lines);
    if (line.sign !== "+") old -= 1;
    if (line.sign !== "-") now -= 1;
    parsed.push(line);
  }
  if (old < 0 || now < 0) throw patchProblem("a hunk of it has too many lines");
  return { from: Number(from), lines: parsed };
}

function parseHunkLine(lines: PatchLines): HunkLine {
  const line = lines.nextBytes() ?? new Uint8Array();
  const sign = latin1(line.subarray(0, 1));
  if (sign !== " " && sign !== "-" && sign !== "+") {
    throw patchProblem("a hunk of it ends too early");
  }
  return { sign, bytes: lines.takeEndMark() ? line.subarray(1, -1) : line.subarray(1) };
}
