import { constants } from "node:fs";
import { link, mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SovereignError } from "@sovereign/core";

/** What a file operation found, where that is not a failure. */
export type LinkResult = "created" | "exists";

/**
 * Files that are whole or absent, whatever stops the process or the machine: bytes go to a
 * temporary file in the same file system, are synced, and only then get their name.
 */
export class DurableFiles {
  readonly #root: string;
  readonly #temporary: string;
  readonly #newName: () => string;

  /**
   * @param root everything lies below it; `temporary/` there holds files that have no name yet,
   *   and what a killed process leaves in it is never read
   * @param newName makes names that no other process makes
   */
  constructor(root: string, newName: () => string) {
    this.#root = root;
    this.#temporary = join(root, "temporary");
    this.#newName = newName;
  }

  /** Give the bytes a name; another file of that name is replaced at once. */
  async replace(path: string, bytes: Uint8Array): Promise<void> {
    await this.#place(path, bytes, (from) => rename(from, path));
  }

  /** Give the bytes a name that nobody has: of two processes at once, one gets `exists`. */
  async create(path: string, bytes: Uint8Array): Promise<LinkResult> {
    try {
      await this.#place(path, bytes, async (from) => {
        await link(from, path);
        await unlink(from);
      });
      return "created";
    } catch (error) {
      if (isCode(error, "EEXIST")) return "exists";
      throw error;
    }
  }

  /** Give a file another name. */
  async move(from: string, to: string): Promise<void> {
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    await rename(from, to);
    await this.settle(to);
    await this.settle(from);
  }

  /**
   * Make the name of a file durable that is there already: who gave it the name may have been
   * killed before the folders were synced.
   */
  async settle(path: string): Promise<void> {
    for (let at = dirname(path); at.startsWith(this.#root); at = dirname(at)) await syncFolder(at);
  }

  /** Remove what killed processes left, if it is older than `olderThanMs` at `now`. */
  async sweep(now: Date, olderThanMs: number): Promise<void> {
    for (const name of await listFolder(this.#temporary)) {
      const path = join(this.#temporary, name);
      const found = await stat(path).catch(() => null);
      if (found !== null && now.getTime() - found.mtimeMs > olderThanMs) await forget(path);
    }
  }

  async #place(
    path: string,
    bytes: Uint8Array,
    name: (temporary: string) => Promise<void>,
  ): Promise<void> {
    await mkdir(this.#temporary, { recursive: true, mode: 0o700 });
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const temporary = join(this.#temporary, this.#newName());
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await name(temporary);
    } catch (error) {
      // Nothing has the name, or it has whole bytes: the world is as before or as wanted.
      await forget(temporary);
      throw error;
    }
    await this.settle(path);
  }
}

/**
 * Read a regular file, or null where there is none. Links are not followed.
 * @throws ERR_REGISTRY_CORRUPT when there is something else, or more bytes than `bytesMax`
 */
export async function readRegular(path: string, bytesMax: number): Promise<Uint8Array | null> {
  const file = await openOrNull(path);
  if (file === null) return null;
  try {
    const found = await file.stat();
    if (!found.isFile() || found.size > bytesMax) {
      const text = `${path}: expected a regular file of at most ${bytesMax} bytes`;
      throw new SovereignError("ERR_REGISTRY_CORRUPT", text, { path, bytes: found.size });
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** The names in a folder; none where there is no folder. */
export async function listFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (isCode(error, "ENOENT")) return [];
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function openOrNull(path: string): Promise<Awaited<ReturnType<typeof open>> | null> {
  try {
    // O_NONBLOCK: a planted pipe must not hold us.
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isCode(error, "ENOENT")) return null;
    if (isCode(error, "ELOOP")) {
      const text = `${path}: expected a file, found a link`;
      throw new SovereignError("ERR_REGISTRY_CORRUPT", text, { path }, error);
    }
    throw error;
  }
}

async function forget(path: string): Promise<void> {
  await unlink(path).catch(() => undefined);
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
