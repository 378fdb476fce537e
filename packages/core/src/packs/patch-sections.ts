import { unquoteGitName } from "../text/index.ts";

const LF = 0x0a;
const MARK = "diff --git ";

/**
 * A patch of `git format-patch --no-renames`, cut into what it says of each file. A file that
 * becomes a link has two parts, which stand together here.
 *
 * No line of a hunk begins with this mark, none of a binary file, and no message of our commits.
 *
 * @param bytes untrusted
 * @returns by path, each of whose characters is one byte
 */
export function patchSections(bytes: Uint8Array): Map<string, Uint8Array> {
  const starts: { at: number; path: string }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const found = bytes.indexOf(LF, at);
    const end = found < 0 ? bytes.length : found;
    if (isMarked(bytes, at)) starts.push({ at, path: pathOf(bytes.subarray(at, end)) });
    at = end + 1;
  }
  const parts = new Map<string, Uint8Array[]>();
  for (const [index, { at, path }] of starts.entries()) {
    const part = bytes.subarray(at, starts[index + 1]?.at ?? bytes.length);
    const before = parts.get(path);
    if (before === undefined) parts.set(path, [part]);
    else before.push(part);
  }
  return new Map([...parts].map(([path, all]) => [path, joined(all)]));
}

function isMarked(bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < MARK.length; index++) {
    if (bytes[at + index] !== MARK.charCodeAt(index)) return false;
  }
  return true;
}

/** The same name twice, behind `a/` and `b/`. */
function pathOf(line: Uint8Array): string {
  const names = latin1(line.subarray(MARK.length));
  return unquoteGitName(names.slice(0, (names.length - 1) / 2)).slice(2);
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Put together once, however many there are. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
