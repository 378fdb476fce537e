import { utf8Encode } from "../bytes/index.ts";
import { foldName, isShortName } from "./folded-names.ts";

/** As Linux has it for one name. */
const NAME_BYTES_MAX = 255;

/**
 * Controls of either kind, characters that turn the direction of writing, and others that nobody
 * sees: two names that look alike would be two. Those that only choose how a character is drawn
 * are let through; names are folded without them.
 */
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\\]|(?![\ufe0e\ufe0f])\p{Default_Ignorable_Code_Point}/u;

/** True for text whose characters everybody sees, none of them a backslash. @param text untrusted */
export function isSeen(text: string): boolean {
  return text.isWellFormed() && !UNSEEN.test(text);
}

/** True for a path that is relative on every system. @param path untrusted */
export function isRelative(path: string): boolean {
  return !path.startsWith("/") && !/^[A-Za-z]:/.test(path);
}

/**
 * What is expected of a name of a path, and is not so: one that some file system would fold into
 * another or could not hold, or git's own folder in any spelling.
 *
 * @param name untrusted; without `/`
 * @returns null for a plain name
 */
export function nameProblem(name: string): string | null {
  if (name === "" || name === "." || name === "..") return "plain names";
  if (/[. ]$/.test(name)) return "names that do not end in a dot or space";
  if (utf8Encode(name).length > NAME_BYTES_MAX) return `names of at most ${NAME_BYTES_MAX} bytes`;
  if (foldName(name) === ".git") return "nothing in .git";
  return isShortName(name) ? "no short name, such as GIT~1" : null;
}

/**
 * True when a link leads below the work tree's root, by names that a path may have, too. `..` may
 * stand at its beginning alone: behind a name it would climb out of wherever that name, which may be
 * a link too, leads.
 *
 * @param path of the link, below the root
 * @param target as written; untrusted
 */
export function staysInside(path: string, target: string): boolean {
  if (target === "" || !isSeen(target) || !isRelative(target)) return false;
  if (target !== target.normalize("NFC")) return false;
  const names = target.split("/");
  const climbs = names.findIndex((name) => name !== "..");
  const depth = path.split("/").length - 1;
  if ((climbs < 0 ? names.length : climbs) > depth) return false;
  const rest = climbs < 0 ? [] : names.slice(climbs);
  return rest.every((name) => name === "" || name === "." || nameProblem(name) === null);
}
