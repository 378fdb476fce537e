import { isRelative, isSeen, nameProblem, quoted, SovereignError } from "@sovereign/core";

/** What the file system says of a path, without following a last link. Injected. */
export interface PathProbe {
  /** `null` when nothing is there. */
  lstat(path: string): { kind: "file" | "folder" | "link" | "other"; links: number } | null;
}

const PATH_MAX = 1024;
/** With room for the folder that it lies in. */
const PATH_BYTES_MAX = 2048;

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
  if (!isSeen(path)) throw refused(path, "no control characters, no unseen ones and no backslash");
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) throw refused(path, `${PATH_BYTES_MAX} bytes`);
  if (path !== path.normalize("NFC")) throw refused(path, "composed characters (NFC)");
  if (!isRelative(path)) throw refused(path, "a relative path");
  const names = path.split("/");
  for (const name of names) {
    const expected = nameProblem(name);
    if (expected !== null) throw refused(path, expected);
  }
  return names.join("/");
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
