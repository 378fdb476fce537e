import { withoutEnd } from "../text/index.ts";

/**
 * A file's or folder's name, as the least particular file system could read it. Two names that any
 * of them takes for one fold to one: letters are folded, characters that cannot be seen are left
 * out (HFS+, ext4 with casefold), compatible forms are one (`．git`), the end of dots, spaces and
 * of a stream's name is cut (NTFS).
 *
 * @param name untrusted; one name, without `/`
 */
export function foldName(name: string): string {
  return PLAIN.test(name) ? name.toLowerCase() : foldOdd(name);
}

/** Most names: nothing of them is folded but letters. */
const PLAIN = /^[\w+@-]*(?:\.[\w+@-]+)*$/;

function foldOdd(name: string): string {
  const [own = ""] = name.replaceAll(UNSEEN, "").normalize("NFKC").split(":", 1);
  return foldWhole(own);
}

function foldWhole(name: string): string {
  const seen = name.normalize("NFKC").replaceAll(UNSEEN, "");
  return withoutEnd(seen.toUpperCase().toLowerCase().normalize("NFKC"), ". ");
}

const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Cf}]/gu;

/**
 * What one character folds to, apart from its neighbours: no character where it cannot be seen,
 * several where it is drawn as several. For whoever holds names against patterns, whose wildcards
 * stand for characters as they were written.
 */
export function foldCharacter(character: string): string[] {
  const seen = character.replaceAll(UNSEEN, "").normalize("NFKD");
  return Array.from(seen.toUpperCase().toLowerCase().normalize("NFKD").replaceAll(UNSEEN, ""));
}

/** Each name of a path, folded. */
export function foldNames(path: string): string[] {
  return path.split("/").map(foldName);
}

/** Each name of a path, folded, with what a file system with streams takes for a stream's name. */
export function foldWholeNames(path: string): string[] {
  return path.split("/").map(foldWhole);
}

/**
 * True for a name of the short form that some file systems give a longer one besides: `GITHUB~1`
 * is another name of `.github` there.
 */
export function isShortName(name: string): boolean {
  return /^[^.~]{1,7}~\d{1,6}(\..{0,3})?$/u.test(foldName(name));
}
