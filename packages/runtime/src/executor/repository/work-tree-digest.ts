import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  type Stats,
} from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import type { RepositoryRollbackProof } from "@sovereign/core";
import type { Git } from "../git/index.ts";

/** One file of a tree, as git lists it. A name is bytes: not every one is text. */
interface TreeFile {
  readonly mode: string;
  readonly id: string;
  readonly bytes: number;
  readonly path: Buffer;
}

/** What stands at a path now, read whole: what an index or a time of change says is not asked. */
interface Found {
  readonly mode: string;
  /** By git's own rule; null where there is nothing that git could hold. */
  readonly id: string | null;
  readonly sha256: string | null;
}

export type EveryFile = NonNullable<RepositoryRollbackProof["every_file"]>;

const GITLINK = "160000";
const ABSENT: Found = { mode: "000000", id: null, sha256: null };
/** So many files are read between two turns of others, such as the kill switch. */
const TURN = 100;
const CHUNK_BYTES = 1024 * 1024;
const BATCH_BYTES = 64 * 1024 * 1024;

/**
 * Read every file that a tree names where it stands in the work tree.
 * @returns one line for each, to be held against a later look
 */
export async function lookAtFiles(git: Git, root: string, tree: string): Promise<string> {
  const files = await listFiles(git, tree);
  const found = await readFiles(root, files);
  return found.map(lineOf).join("\n");
}

/**
 * Hold every file of a tree against what stands in the work tree: it is the tree's own, byte for
 * byte, or it is what stood there before, as an edit of the user's or a filter of theirs has it.
 *
 * @param before what an earlier look said of the same tree
 * @param restored the paths that were written again, and held against what git writes out
 */
export async function proveEveryFile(
  git: Git,
  root: string,
  tree: string,
  before: string,
  restored: ReadonlySet<string>,
): Promise<EveryFile> {
  const files = await listFiles(git, tree);
  const found = await readFiles(root, files);
  const earlier = before.split("\n");
  const others = files.flatMap((_, at) => (isAsBase(files[at], found[at]) ? [] : [at]));
  const texts = await digestsOfBlobs(
    git,
    others.flatMap((at) => files[at] ?? []).filter((one) => one.mode !== GITLINK),
  );
  const all = createHash("sha256");
  for (const [at, { mode, id, path }] of files.entries()) {
    const digest = mode === GITLINK ? id : (texts.get(id) ?? found[at]?.sha256 ?? "");
    all.update(`${mode} ${digest} `).update(path).update("\0");
  }
  const pathAt = (at: number): string => files[at]?.path.toString("utf8") ?? "";
  const kept = others.filter((at) => !restored.has(pathAt(at)));
  return {
    total: files.length,
    as_base: files.length - others.length,
    converted: others.length - kept.length,
    kept: kept.map((at) => {
      const { mode, sha256 } = found[at] ?? ABSENT;
      return { path: pathAt(at), mode, sha256 };
    }),
    kept_unchanged: kept.every((at) => lineOf(found[at] ?? ABSENT) === earlier[at]),
    sha256: all.digest("hex"),
  };
}

/** Git's order is that of the names' bytes. */
async function listFiles(git: Git, tree: string): Promise<TreeFile[]> {
  const said = Buffer.from(await git.bytes(["ls-tree", "-r", "-l", "-z", "--full-tree", tree]));
  const files: TreeFile[] = [];
  for (let from = 0; from < said.length; ) {
    const end = said.indexOf(0, from);
    const tab = said.indexOf(9, from);
    const words = said.toString("latin1", from, tab).split(/ +/);
    const [mode = "", , id = "", bytes = ""] = words;
    files.push({ mode, id, bytes: Number(bytes) || 0, path: said.subarray(tab + 1, end) });
    from = end + 1;
  }
  return files;
}

/** A submodule's files are its own repository's. */
function isAsBase(file: TreeFile | undefined, found: Found | undefined): boolean {
  if (file?.mode === GITLINK) return true;
  return file !== undefined && file.mode === found?.mode && file.id === found.id;
}

function lineOf({ mode, sha256 }: Found): string {
  return `${mode} ${sha256 ?? ""}`;
}

async function readFiles(root: string, files: readonly TreeFile[]): Promise<Found[]> {
  const reader = new FileReader(root);
  const found: Found[] = [];
  for (const [at, file] of files.entries()) {
    if (at % TURN === TURN - 1) await turn();
    found.push(file.mode === GITLINK ? ABSENT : reader.read(file));
  }
  return found;
}

/** Reads below a folder without following a link, neither at a path's end nor on its way. */
class FileReader {
  readonly #root: Buffer;
  readonly #folders = new Map<string, boolean>();
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);

  constructor(root: string) {
    this.#root = Buffer.from(`${root}/`);
  }

  read({ path, id }: TreeFile): Found {
    if (!this.#isBelowFolders(path)) return ABSENT;
    const full = Buffer.concat([this.#root, path]);
    const found = lstatSync(full, { throwIfNoEntry: false });
    if (found === undefined) return ABSENT;
    const format = id.length === 40 ? "sha1" : "sha256";
    if (found.isSymbolicLink()) {
      const target = readlinkSync(full, { encoding: "buffer" });
      return this.#digest("120000", format, target.length, (take) => {
        take(target);
      });
    }
    if (!found.isFile()) return { ...ABSENT, mode: found.isDirectory() ? "040000" : "other" };
    return this.#readFile(full, found, format);
  }

  #readFile(full: Buffer, found: Stats, format: "sha1" | "sha256"): Found {
    const mode = (found.mode & 0o100) === 0 ? "100644" : "100755";
    // What is put in its place meanwhile is neither followed nor waited for.
    const fd = openSync(full, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      return this.#digest(mode, format, found.size, (take) => {
        for (let left = 1; left > 0; ) {
          left = readSync(fd, this.#chunk, 0, CHUNK_BYTES, null);
          take(this.#chunk.subarray(0, left));
        }
      });
    } finally {
      closeSync(fd);
    }
  }

  #digest(
    mode: string,
    format: "sha1" | "sha256",
    size: number,
    give: (take: (bytes: Uint8Array) => void) => void,
  ): Found {
    const sums: Hash[] = [createHash(format).update(`blob ${size}\0`), createHash("sha256")];
    give((bytes) => {
      for (const sum of sums) sum.update(bytes);
    });
    const [id = "", sha256 = ""] = sums.map((sum) => sum.digest("hex"));
    return { mode, id, sha256 };
  }

  #isBelowFolders(path: Buffer): boolean {
    const end = path.lastIndexOf(0x2f);
    if (end < 0) return true;
    const folder = path.subarray(0, end);
    const key = folder.toString("latin1");
    const known = this.#folders.get(key);
    if (known !== undefined) return known;
    const full = Buffer.concat([this.#root, folder]);
    const is =
      this.#isBelowFolders(folder) &&
      lstatSync(full, { throwIfNoEntry: false })?.isDirectory() === true;
    this.#folders.set(key, is);
    return is;
  }
}

/** SHA-256 of the bytes that git has for these, by their ids. */
async function digestsOfBlobs(
  git: Git,
  files: readonly TreeFile[],
): Promise<ReadonlyMap<string, string>> {
  const digests = new Map<string, string>();
  for (let at = 0; at < files.length; ) {
    const batch: TreeFile[] = [];
    let bytes = 0;
    for (; at < files.length && (batch.length === 0 || bytes < BATCH_BYTES); at += 1) {
      const file = files[at] as TreeFile;
      batch.push(file);
      bytes += file.bytes + 128;
    }
    const input = batch.map((one) => `${one.id}\n`).join("");
    const call = { input, stdoutBytesMax: bytes + 1024 };
    const said = Buffer.from(await git.bytes(["cat-file", "--batch"], call));
    let from = 0;
    for (const file of batch) {
      const start = said.indexOf(10, from) + 1;
      from = start + file.bytes + 1;
      const content = said.subarray(start, start + file.bytes);
      digests.set(file.id, createHash("sha256").update(content).digest("hex"));
    }
  }
  return digests;
}
