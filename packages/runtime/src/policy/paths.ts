import { foldName, isShortName, quoted, SovereignError } from "@sovereign/core";

/** What the file system says of a path, without following a last link. Injected. */
export interface PathProbe {
  /** `null` when nothing is there. */
  lstat(path: string): { kind: "file" | "folder" | "link" | "other"; links: number } | null;
}

const PATH_MAX = 1024;
/** As Linux has it for one name; and for a path, with room for the folder that it lies in. */
const NAME_BYTES_MAX = 255;
const PATH_BYTES_MAX = 2048;

/**
 * Controls of either kind, characters that turn the direction of writing, and others that nobody
 * sees: two names that look alike would be two. Those that only choose how a character is drawn
 * are let through; names are folded without them.
 */
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\\]|(?![\ufe0e\ufe0f])\p{Default_Ignorable_Code_Point}/u;

/**
 * Bring a path that somebody else wrote into the one form that policies are matched against: plain
 * names below the work root, joined by `/`.
 *
 * Resolve first, match after: `docs/../../etc/passwd` is not below `docs/**`.
 *
 * @param path untrusted
 * @throws ERR_PATH_REFUSED for anything that is not plainly below the root: absolute paths, `..`,
 *   `.`, empty names, controls and unseen characters, backslashes, names that another file system
 *   would fold into others or could not hold, and git's own folder in any spelling
 */
export function resolvePath(path: string): string {
  if (path.length === 0 || path.length > PATH_MAX) throw refused(path, "1 to 1024 characters");
  if (!path.isWellFormed() || UNSEEN.test(path)) {
    throw refused(path, "no control characters, no unseen ones and no backslash");
  }
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) throw refused(path, `${PATH_BYTES_MAX} bytes`);
  if (path !== path.normalize("NFC")) throw refused(path, "composed characters (NFC)");
  if (path.startsWith("/") || /^[A-Za-z]:/.test(path)) throw refused(path, "a relative path");
  const names = path.split("/");
  for (const name of names) checkName(path, name);
  return names.join("/");
}

function checkName(path: string, name: string): void {
  if (name === "" || name === "." || name === "..") throw refused(path, "plain names");
  if (/[. ]$/.test(name)) throw refused(path, "names that do not end in a dot or space");
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw refused(path, `names of at most ${NAME_BYTES_MAX} bytes`);
  }
  if (foldName(name) === ".git") throw refused(path, "nothing in .git");
  if (isShortName(name)) throw refused(path, "no short name, such as GIT~1");
}

/**
 * As {@link resolvePath}, and also hold the path against the file system below `root`: no name on
 * the way is a link, and the file itself is neither a link nor has a second name elsewhere.
 *
 * @throws ERR_PATH_REFUSED
 */
export function resolveOnDisk(root: string, path: string, probe: PathProbe): string {
  const resolved = resolvePath(path);
  const names = resolved.split("/");
  for (let depth = 1; depth <= names.length; depth++) {
    const found = probe.lstat(`${root}/${names.slice(0, depth).join("/")}`);
    if (found === null) break;
    const last = depth === names.length;
    if (found.kind === "link") throw refused(path, "no symbolic links");
    if (found.kind === "other") throw refused(path, "plain files and folders");
    if (!last && found.kind !== "folder") throw refused(path, "folders on the way");
    if (last && found.kind === "file" && found.links > 1) throw refused(path, "no hard links");
  }
  return resolved;
}

function refused(path: string, expected: string): SovereignError {
  return new SovereignError(
    "ERR_PATH_REFUSED",
    `The path ${quoted(path)} is refused: expected ${expected}.`,
  );
}
