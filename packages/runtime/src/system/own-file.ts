import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { SovereignError, systemWords } from "@sovereign/core";

/**
 * Files of the data folder, opened so that nothing that stands in their place can do harm. A named
 * pipe would make us wait without end, a device acts when it is opened, and a link leads to a file
 * that is not meant. So links are not followed, opening never waits, and only a plain file is used
 * that belongs to us, to root, or to the owner of its folder.
 */

/** What is done with a file. */
export type OwnFileUse =
  | "read"
  /** Read and written in place; it must be there, under one name alone. */
  | "update"
  /** Written at its end, under one name alone; made with mode 0600 where it is missing. */
  | "append"
  /** Made with mode 0600; nothing may stand there. */
  | "create";

const NEVER_WAIT = constants.O_NOFOLLOW | constants.O_NONBLOCK;
const FLAGS: Readonly<Record<OwnFileUse, number>> = {
  read: constants.O_RDONLY,
  update: constants.O_RDWR,
  append: constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
};
/** What the system says when something is there that is no plain file. */
const NO_PLAIN_FILE = new Set(["ELOOP", "ENXIO", "ENODEV", "EISDIR"]);
const FORBIDDEN = new Set(["EACCES", "EPERM"]);
const ASIDE_MAX = 1000;
const OWNERS = 0o600;
/** Where a file has no limit of its own: what we wrote ourselves is smaller. */
const WHOLE_BYTES_MAX = 64 * 1024 * 1024;

let temporaries = 0;

/**
 * Open a file of ours.
 *
 * @param path in the data folder; what stands there is untrusted
 * @returns a descriptor, to be closed by the caller
 * @throws ERR_DATA_FOLDER when something else than a plain file of ours stands there, and the
 *   system's own error, such as ENOENT, for everything else
 */
export function openOwnFile(path: string, use: OwnFileUse): number {
  // Before it is opened: a device acts when it is.
  const before = use === "create" ? undefined : statAt(path);
  if (before !== undefined) requireOwn(path, before, use);
  let file: number;
  try {
    file = openSync(path, FLAGS[use] | NEVER_WAIT, 0o600);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (NO_PLAIN_FILE.has(code)) throw notOurs(path, "something that is no plain file", error);
    throw forbiddenAt(path, error) ?? error;
  }
  try {
    requireOwn(path, fstatSync(file), use);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** What the system says when something on the way is no folder. */
const NO_FOLDER = new Set(["ENOTDIR", "ELOOP"]);

function statAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (!NO_FOLDER.has((error as NodeJS.ErrnoException).code ?? "")) {
      throw forbiddenAt(path, error) ?? error;
    }
    const text = `${dirname(path)}: expected a folder of ours, found something else. Look into it, and move it away.`;
    throw new SovereignError("ERR_DATA_FOLDER", text, { path }, error);
  }
}

/** Rights that were taken away, as by a copy, are given back by one command. Null for other errors. */
function forbiddenAt(path: string, cause: unknown): SovereignError | null {
  if (!FORBIDDEN.has((cause as NodeJS.ErrnoException).code ?? "")) return null;
  const barred = firstBarred(dirname(path));
  const folder = barred ?? (existsSync(path) ? null : dirname(path));
  const command = folder === null ? `chmod 600 "${path}"` : `chmod 700 "${folder}"`;
  const text = `${path}: expected that we may use it, found that its rights forbid it. Type: ${command}`;
  return new SovereignError("ERR_DATA_FOLDER", text, { path }, cause);
}

/** The first folder on the way that may not be entered; null where each may. */
function firstBarred(folder: string): string | null {
  const above = dirname(folder);
  const first = above === folder ? null : firstBarred(above);
  if (first !== null) return first;
  try {
    accessSync(folder, constants.X_OK);
    return null;
  } catch {
    return folder;
  }
}

/**
 * Open a log of ours, to be written at its end. What stands in its place and cannot be written to is
 * put aside: also a file with a second name, such as a backup by links makes.
 */
export function openOwnLog(path: string): number {
  if (!ownsFile(path)) putAside(path);
  try {
    return openOwnFile(path, "append");
  } catch (error) {
    if (putAside(path) === null) throw error;
    return openOwnFile(path, "append");
  }
}

/**
 * Make a plain file of the user's own one that can be read, and written in place: with the owner's
 * rights, and under this name alone. A backup by links gives each file a second name, and a copy with
 * wrong modes takes the rights away.
 *
 * @param bytesMax the most that it may have
 * @throws the system's own error, or ERR_DATA_FOLDER, where that is not possible
 */
export function makeOwnWritable(path: string, bytesMax: number): void {
  const found = statAt(path);
  if (found?.isFile() !== true || found.uid !== process.geteuid?.()) return;
  // Under another name it may be somebody's: its rights are not ours to change.
  if (found.nlink > 1) replaceOwnFile(path, requireOwnFile(path, bytesMax));
  else if ((found.mode & OWNERS) !== OWNERS) chmodSync(path, 0o600);
}

/**
 * Read a file of ours whole.
 *
 * @param bytesMax the most that it may have
 * @returns null when nothing stands there
 * @throws ERR_DATA_FOLDER when something else stands there, or the file is larger
 */
export function readOwnFile(path: string, bytesMax: number): Buffer | null {
  let file: number;
  try {
    file = openOwnFile(path, "read");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    const { size } = fstatSync(file);
    if (size > bytesMax) throw tooLarge(path, bytesMax);
    // What is read counts, not what its size says: it may grow meanwhile.
    const bytes = Buffer.alloc(Math.min(bytesMax, size) + 1);
    let end = 0;
    while (end < bytes.length) {
      const read = readSync(file, bytes, end, bytes.length - end, end);
      if (read === 0) return bytes.subarray(0, end);
      end += read;
    }
    if (end > bytesMax) throw tooLarge(path, bytesMax);
    return Buffer.concat([bytes, readRest(file, path, end, bytesMax)]);
  } finally {
    closeSync(file);
  }
}

/** What a file got between the look at its size and its end. */
function readRest(file: number, path: string, from: number, bytesMax: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = from; ; ) {
    const part = Buffer.alloc(64 * 1024);
    const read = readSync(file, part, 0, part.length, at);
    if (read === 0) return Buffer.concat(parts);
    at += read;
    if (at > bytesMax) throw tooLarge(path, bytesMax);
    parts.push(part.subarray(0, read));
  }
}

/**
 * Put a file in the place of another, whole or not at all. Something that is no plain file and stands
 * there is put aside first (see {@link putAside}).
 *
 * @param durable whether it is on the disk when this returns
 */
export function replaceOwnFile(path: string, content: string | Uint8Array, durable = true): void {
  const temporary = `${path}.new-${process.pid}-${temporaries++}`;
  removeAt(temporary);
  const file = openOwnFile(temporary, "create");
  try {
    writeWhole(file, typeof content === "string" ? Buffer.from(content) : content);
    if (durable) fsyncSync(file);
  } catch (error) {
    removeAt(temporary);
    throw error;
  } finally {
    closeSync(file);
  }
  try {
    if (kindAt(path) === "folder") putAside(path);
    renameSync(temporary, path);
  } catch (error) {
    removeAt(temporary);
    throw error;
  }
  if (durable) syncFolder(dirname(path));
}

/**
 * Give a new file its name, whole and on the disk.
 * @returns false where something has the name already: of several at once one alone gets true
 */
export function placeOwnFile(path: string, content: string | Uint8Array): boolean {
  const temporary = `${path}.new-${process.pid}-${temporaries++}`;
  replaceOwnFile(temporary, content);
  try {
    linkSync(temporary, path);
    syncFolder(dirname(path));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    removeAt(temporary);
  }
}

/** Write at the end of a file of ours; made where it is missing. @throws ERR_DATA_FOLDER as {@link openOwnFile} */
export function appendOwnFile(path: string, content: string): void {
  const file = openOwnFile(path, "append");
  try {
    writeWhole(file, Buffer.from(content));
  } finally {
    closeSync(file);
  }
}

/**
 * Make a folder of ours with mode 0700, and those above it, where they are missing.
 * @throws ERR_DATA_FOLDER when something else stands in the place of one of them, or none can be made
 */
export function makeOwnFolder(path: string): void {
  let why: string;
  let cause: unknown;
  try {
    makeMissing(path);
    if (statSync(path).isDirectory()) return;
    why = "found something else. Look into it, and move it away";
  } catch (error) {
    cause = error;
    why = systemWords(error);
  }
  const text = `${path}: expected a folder of ours: ${why}.`;
  throw new SovereignError("ERR_DATA_FOLDER", text, { path }, cause);
}

/** Node's own recursive one never comes back where nothing can be made, as in /proc. */
function makeMissing(path: string): void {
  if (existsSync(path)) return;
  makeMissing(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have been quicker.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** {@link readOwnFile} of what has to be there. @throws ERR_DATA_FOLDER when it is not */
export function requireOwnFile(path: string, bytesMax = WHOLE_BYTES_MAX): Buffer {
  const bytes = readOwnFile(path, bytesMax);
  if (bytes !== null) return bytes;
  throw new SovereignError("ERR_DATA_FOLDER", `${path} is not there. Put it back from a copy.`, {
    path,
  });
}

function writeWhole(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, at);
}

function syncFolder(path: string): void {
  const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Whether a plain file of ours stands there; opens nothing and never throws. */
export function ownsFile(path: string): boolean {
  try {
    requireOwn(path, lstatSync(path), "read");
    return true;
  } catch {
    return false;
  }
}

/**
 * What stands at a path, itself and not what it leads to: `file`, `folder`, `symbolic link`, `named
 * pipe`, `socket` or `device`. Null when nothing does.
 *
 * @throws ERR_DATA_FOLDER where the folder that it would lie in is none
 */
export function kindAt(path: string): string | null {
  const found = statAt(path);
  return found === undefined ? null : kindOf(found);
}

/**
 * Take what stands at a path out of the way, whatever it is, under a free name beside it:
 * `NAME.aside-1` and so on. It keeps what it holds, for whoever looks into it.
 *
 * @returns the new path; null when nothing stood there
 */
export function putAside(path: string): string | null {
  if (kindAt(path) === null) return null;
  for (let number = 1; number <= ASIDE_MAX; number++) {
    const aside = join(dirname(path), `${basename(path)}.aside-${number}`);
    if (kindAt(aside) !== null) continue;
    renameSync(path, aside);
    return aside;
  }
  throw notOurs(path, `${ASIDE_MAX} things already put aside beside it; remove them`);
}

/** Remove what stands at a path and is no folder; a folder is put aside. */
export function removeAt(path: string): void {
  if (kindAt(path) === "folder") putAside(path);
  else rmSync(path, { force: true });
}

function requireOwn(path: string, found: Stats, use: OwnFileUse): void {
  if (!found.isFile()) throw notOurs(path, `a ${kindOf(found)}`);
  if (!isOwner(path, found.uid)) throw notOurs(path, `one that belongs to user ${found.uid}`);
  // Written in place, it would change under its other names, too.
  if ((use === "update" || use === "append") && found.nlink > 1) {
    throw notOurs(path, `one with ${found.nlink} names`);
  }
}

/** Root may work in a user's data folder: whoever owns the folder may replace its files anyway. */
function isOwner(path: string, uid: number): boolean {
  if (uid === 0 || uid === process.geteuid?.()) return true;
  return uid === lstatSync(dirname(path), { throwIfNoEntry: false })?.uid;
}

function kindOf(found: Stats): string {
  if (found.isFile()) return "file";
  if (found.isDirectory()) return "folder";
  if (found.isSymbolicLink()) return "symbolic link";
  if (found.isFIFO()) return "named pipe";
  return found.isSocket() ? "socket" : "device";
}

function notOurs(path: string, what: string, cause?: unknown): SovereignError {
  const text = `${path}: expected a plain file of ours, found ${what}. Look into it, and move it away.`;
  return new SovereignError("ERR_DATA_FOLDER", text, { path }, cause);
}

function tooLarge(path: string, bytesMax: number): SovereignError {
  const text = `${path}: expected at most ${bytesMax} bytes, found more. Look into it, and move it away.`;
  return new SovereignError("ERR_DATA_FOLDER", text, { path }, undefined);
}
