import { quoted, SovereignError, unquoteGitName } from "@sovereign/core";
import { DiffLines } from "./diff-lines.ts";
import { readMail } from "./diff-mail.ts";
import { nameIn, plainName, quotedName, stripped } from "./diff-names.ts";

/** What a diff does to one file. */
export interface FileDiff {
  /** Of the file afterwards; of one that is deleted, before. */
  readonly path: string;
  /** Where it was, if it is renamed. */
  readonly from: string | null;
  /** A diff of that path alone, which `git apply` reads; null where it is only renamed. */
  readonly patch: Uint8Array | null;
}

/** The files of a diff, or of one mail of `git format-patch`, with the message that it brings. */
export interface DiffPart {
  readonly message: string;
  readonly files: readonly FileDiff[];
}

/** Each is up to two of a step's operations. */
const FILES_MAX = 500;
const PARTS_MAX = 200;

/**
 * Take a diff apart into one for each file: of `git diff`, of `diff -u`, or of the mails of
 * `git format-patch`. Each gets a head of ours, so that git reads no name but the one that policy
 * decides on.
 *
 * @param bytes untrusted
 * @param name of the file, for messages
 * @throws ERR_REQUEST_INVALID for what is no diff, and what no step could do
 */
export function readDiff(bytes: Uint8Array, name: string): DiffPart[] {
  const lines = new DiffLines(bytes, name);
  const parts: { message: string; files: FileDiff[] }[] = [];
  const open = (message: string): void => {
    if (parts.length >= PARTS_MAX) throw lines.refused(`expected at most ${PARTS_MAX} mails`);
    parts.push({ message, files: [] });
  };
  for (let line = lines.peek(); line !== null; line = lines.peek()) {
    if (/^From [0-9a-f]{40,64} /.test(line)) {
      open(readMail(lines));
      continue;
    }
    const file = readFile(lines);
    if (file === null) continue;
    if (parts.length === 0) open("");
    const { files } = parts.at(-1) as { files: FileDiff[] };
    if (files.length >= FILES_MAX) throw lines.refused(`expected at most ${FILES_MAX} files`);
    files.push(file);
  }
  const changing = parts.filter(({ files }) => files.length > 0);
  if (changing.length > 0) return changing;
  const text = `${name}: expected a diff, such as git diff --binary or git format-patch writes, found none`;
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}

/** The next file; null where the line is of no file, which is then left behind. */
function readFile(lines: DiffLines): FileDiff | null {
  const line = lines.peek() ?? "";
  if (line.startsWith("diff --git ")) return readGitFile(lines);
  if (line.startsWith("--- ") && lines.peek(1)?.startsWith("+++ ") === true) {
    return readPlainFile(lines);
  }
  const lost = LOST.find(([form]) => form.test(line));
  if (lost !== undefined) throw lines.refused(lost[1]);
  lines.next();
  return null;
}

const NO_BYTES = "it has no bytes of a binary file: make it again with git diff --binary";
/** What says that something differs, and not how. */
const LOST: readonly (readonly [RegExp, string])[] = [
  [/^diff --(?:cc|combined) /, "it is of a merge: make it again against one parent"],
  [/^Binary files .* differ$/, NO_BYTES],
  [/^Only in .*: /, "a file of it is there on one side alone: make it again with diff -N"],
  [/^@@ -\d/, "a hunk of it belongs to no file"],
];

/** What stands between the names and the content. */
interface Head {
  readonly said: ReadonlyMap<string, string>;
  /** The lines that git needs again: modes and the ids of the contents. */
  readonly kept: readonly string[];
}

const EXTENDED =
  /^(old mode|new mode|new file mode|deleted file mode|similarity index|dissimilarity index|rename from|rename to|copy from|copy to|index) (.+)$/;
const AGAIN = /^(?:old mode|new mode|new file mode|deleted file mode|index)$/;

function readHead(lines: DiffLines): Head {
  const said = new Map<string, string>();
  const kept: string[] = [];
  for (;;) {
    const [line, what = "", value = ""] = EXTENDED.exec(lines.peek() ?? "") ?? [];
    if (line === undefined) return { said, kept };
    said.set(what, value);
    if (AGAIN.test(what)) kept.push(line);
    lines.next();
  }
}

function readGitFile(lines: DiffLines): FileDiff {
  const place = lines.place();
  const names = (lines.next() ?? "").slice("diff --git ".length);
  const { said, kept } = readHead(lines);
  const { before, path } = namesIn(lines, names, said, place);
  const content = readContent(lines, { before, path, said });
  const isRenamed = before !== path;
  // Of a rename without a change git says at most that the mode is another.
  const changes = content.length > 0 || said.has("new mode") || (!isRenamed && kept.length > 0);
  if (!isRenamed && !changes) throw lines.refused("it changes nothing of a file", place);
  const head = [`diff --git ${quotedName("a/", path)} ${quotedName("b/", path)}`, ...kept];
  return {
    path: textOf(lines, path, place),
    from: isRenamed ? textOf(lines, before, place) : null,
    patch: changes ? bytesOf([...head, ...namesAgain(content, path), ""]) : null,
  };
}

function namesIn(
  lines: DiffLines,
  names: string,
  said: Head["said"],
  place: number,
): { before: string; path: string } {
  if ([...said.values()].some((value) => /(?:^|\s)160000$/.test(value))) {
    throw lines.refused("it changes a submodule, which no step may", place);
  }
  if (said.has("copy from")) {
    throw lines.refused("it copies a file: make it again with git diff --no-renames", place);
  }
  const [from, to] = [said.get("rename from"), said.get("rename to")];
  if (from !== undefined && to !== undefined) {
    return { before: unquoteGitName(from), path: unquoteGitName(to) };
  }
  if (from !== to) {
    throw lines.refused("it renames a file, and says one of its names alone", place);
  }
  const path = plainName(names);
  if (path !== null) return { before: path, path };
  throw lines.refused("it does not say in one way which file it is of", place);
}

function readPlainFile(lines: DiffLines): FileDiff {
  const place = lines.place();
  const path = stripped(lines.peek()?.slice(4) ?? "", lines.peek(1)?.slice(4) ?? "");
  if (path === null) throw lines.refused("expected the names a/FILE and b/FILE", place);
  const content = readContent(lines, null);
  return {
    path: textOf(lines, path, place),
    from: null,
    patch: bytesOf([...namesAgain(content, path), ""]),
  };
}

/** What the head of a file says: names of which each character is a byte. */
interface Said extends Pick<Head, "said"> {
  readonly before: string;
  readonly path: string;
}

/**
 * Names, hunks and binary data.
 * @param head null where there is none
 */
function readContent(lines: DiffLines, head: Said | null): string[] {
  const [line, second] = [lines.peek() ?? "", lines.peek(1) ?? ""];
  if (/^Binary files .* differ$/.test(line)) throw lines.refused(NO_BYTES);
  if (line === "GIT binary patch") return lines.takeBinary();
  if (!line.startsWith("--- ") || !second.startsWith("+++ ")) return [];
  const place = lines.place();
  const names = [line, second];
  if (head !== null && !isNamed(names, head)) {
    throw lines.refused("the names in its head and before its hunks differ", place);
  }
  lines.next();
  lines.next();
  const hunks = lines.takeHunks();
  if (hunks.length === 0) throw lines.refused("it has names and no hunk", place);
  return [...names, ...hunks];
}

/** Git would take the names of these lines: they must be those that the head says. */
function isNamed(names: readonly string[], { before, path, said }: Said): boolean {
  const gone = [said.has("new file mode"), said.has("deleted file mode")];
  return names.every((line, at) => {
    const name = unquoteGitName(nameIn(line.slice(4)));
    if (gone[at] === true) return name === "/dev/null";
    const expected = at === 0 ? before : path;
    return name === expected || name.slice(name.indexOf("/") + 1) === expected;
  });
}

/** The two lines of names in our spelling, before what follows them. */
function namesAgain(content: readonly string[], path: string): string[] {
  const [first = "", second = "", ...rest] = content;
  if (!first.startsWith("--- ")) return [...content];
  const again = (line: string, prefix: string): string =>
    `${line.slice(0, 4)}${/^.{4}\/dev\/null(?:\t|$)/.test(line) ? "/dev/null" : quotedName(prefix, path)}`;
  return [again(first, "a/"), again(second, "b/"), ...rest];
}

function bytesOf(lines: readonly string[]): Uint8Array {
  return Buffer.from(lines.join("\n"), "latin1");
}

function textOf(lines: DiffLines, bytes: string, place: number): string {
  const text = Buffer.from(bytes, "latin1").toString("utf8");
  if (text !== "" && Buffer.from(text, "utf8").toString("latin1") === bytes) return text;
  throw lines.refused(`the name ${quoted(bytes)} is not UTF-8`, place);
}
