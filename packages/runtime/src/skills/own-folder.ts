import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { digestOf, quoted, sha256Hex, SovereignError } from "@sovereign/core";
import { type OwnManifest, readManifest } from "./own-manifest.ts";

export const MANIFEST = "skill.yaml";
const FILES_MAX = 256;
const BYTES_MAX = 8 * 1024 * 1024;
const DEPTH_MAX = 8;
const NAME = /^(?!\.{1,2}$)[A-Za-z0-9_.@+-]{1,100}$/;

/** One file of a skill's folder. */
export interface OwnFile {
  /** With `/`, from the folder on. */
  readonly path: string;
  readonly content: Buffer;
  readonly executable: boolean;
}

/** A skill's folder as it was read: once, so that what is described is what is kept. */
export interface OwnFolder {
  readonly manifest: OwnManifest;
  /** Over each file's path, bytes and whether it can be executed. */
  readonly digest: string;
  readonly files: readonly OwnFile[];
}

/**
 * Read a skill's folder whole.
 * @param folder untrusted, with all that lies in it
 * @throws ERR_SKILL_MANIFEST for a folder that cannot be taken as it is
 */
export function readOwnFolder(folder: string): OwnFolder {
  const files = [...walk(folder, "", { files: 0, bytes: 0 }, 0)];
  files.sort((one, other) => (one.path < other.path ? -1 : 1));
  const bytes = files.find(({ path }) => path === MANIFEST)?.content;
  if (bytes === undefined) {
    throw refused(folder, `expected ${MANIFEST} in it, which says what the skill takes and gives`);
  }
  const names = new Set(files.map(({ path }) => path));
  const manifest = readManifest(bytes, join(folder, MANIFEST), names);
  const listed = files.map(({ path, content, executable }) => ({
    ...{ path, executable },
    sha256: sha256Hex(content),
  }));
  return { manifest, digest: digestOf({ files: listed }), files };
}

function* walk(
  folder: string,
  inside: string,
  read: { files: number; bytes: number },
  depth: number,
): Generator<OwnFile> {
  if (depth > DEPTH_MAX) throw refused(folder, `expected at most ${DEPTH_MAX} folders in another`);
  for (const name of namesIn(folder)) {
    const at = join(folder, name);
    const path = inside === "" ? name : `${inside}/${name}`;
    if (!NAME.test(name)) throw refused(at, "expected a name of A-Z a-z 0-9 _ . @ + -");
    const found = readPlain(at);
    if (found === "folder") {
      yield* walk(at, path, read, depth + 1);
      continue;
    }
    read.files += 1;
    read.bytes += found.content.length;
    if (read.files > FILES_MAX || read.bytes > BYTES_MAX) {
      throw refused(at, `a skill has at most ${FILES_MAX} files and ${BYTES_MAX} bytes`);
    }
    yield { path, ...found };
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    throw refused(folder, `expected the folder of a skill, found ${code}`, cause);
  }
}

/** A link could lead anywhere, and a pipe or a device does something when it is opened. */
function readPlain(path: string): "folder" | Omit<OwnFile, "path"> {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    const what = code === "ELOOP" ? "a link, which leads out of the folder" : code;
    throw refused(path, `expected files and folders alone, found ${what}`, cause);
  }
  try {
    const found = fstatSync(file);
    if (found.isDirectory()) return "folder";
    if (!found.isFile()) throw refused(path, "expected files and folders alone");
    if (found.size > BYTES_MAX) throw refused(path, `expected at most ${BYTES_MAX} bytes`);
    return { content: readFileSync(file), executable: (found.mode & 0o100) !== 0 };
  } finally {
    closeSync(file);
  }
}

function refused(path: string, why: string, cause?: unknown): SovereignError {
  return new SovereignError("ERR_SKILL_MANIFEST", `${quoted(path)}: ${why}.`, {}, cause);
}
