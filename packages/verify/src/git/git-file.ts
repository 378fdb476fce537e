import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { corrupt, tooMuch } from "./git-problem.ts";

/** Files up to this size are read once; of larger ones only the places that are asked for. */
const WHOLE_BYTES_MAX = 64 * 1024 * 1024;
/** Of all files that are open: a repository can have thousands of packs, without content on disk. */
const HELD_BYTES_MAX = 1024 * 1024 * 1024;

const ABSENT = new Set(["ENOENT", "ENOTDIR", "ENAMETOOLONG"]);

/**
 * A regular file of a repository. A link at its place is not followed, and a FIFO or device that
 * somebody put there is neither waited for nor read.
 */
export class GitFile {
  static #heldBytes = 0;
  readonly path: string;
  readonly size: number;
  #descriptor: number | null;
  #whole: Uint8Array | null = null;

  private constructor(path: string, descriptor: number, size: number) {
    this.path = path;
    this.#descriptor = descriptor;
    this.size = size;
  }

  /** @returns null where there is no such file. @throws ERR_GIT_OBJECT_CORRUPT for what is no file */
  static open(path: string): GitFile | null {
    const descriptor = openOrNull(path);
    if (descriptor === null) return null;
    const found = fstatSync(descriptor);
    if (found.isFile()) return new GitFile(path, descriptor, found.size);
    closeSync(descriptor);
    throw corrupt(`${path} is no regular file`);
  }

  /** Exactly these bytes. @throws ERR_GIT_OBJECT_CORRUPT when the file ends before them */
  read(at: number, length: number): Uint8Array {
    if (at < 0 || length < 0 || at + length > this.size) {
      throw corrupt(`${this.path} ends before byte ${at + length}`);
    }
    const whole = this.#whole ?? this.#hold();
    return whole?.subarray(at, at + length) ?? this.#readAt(at, length);
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor);
    this.#descriptor = null;
    GitFile.#heldBytes -= this.#whole?.length ?? 0;
    this.#whole = null;
  }

  #hold(): Uint8Array | null {
    if (this.size > WHOLE_BYTES_MAX) return null;
    if (GitFile.#heldBytes + this.size > HELD_BYTES_MAX) return null;
    this.#whole = this.#readAt(0, this.size);
    GitFile.#heldBytes += this.size;
    return this.#whole;
  }

  #readAt(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length && this.#descriptor !== null) {
      const count = readSync(this.#descriptor, bytes, done, length - done, at + done);
      if (count === 0) break;
      done += count;
    }
    if (done < length) throw corrupt(`${this.path} ends before byte ${at + length}`);
    return bytes;
  }
}

/**
 * A small file, whole.
 * @returns null where there is none
 * @throws ERR_GIT_OBJECT_LIMIT when it is larger, ERR_GIT_OBJECT_CORRUPT for what is no file
 */
export function readGitFile(path: string, bytesMax: number): Uint8Array | null {
  const file = GitFile.open(path);
  if (file === null) return null;
  try {
    if (file.size > bytesMax) throw tooMuch(`${path} has more than ${bytesMax} bytes`);
    return file.read(0, file.size);
  } finally {
    file.close();
  }
}

/** As {@link readGitFile}, as text in which each character is one byte. */
export function readGitText(path: string, bytesMax: number): string | null {
  const bytes = readGitFile(path, bytesMax);
  return bytes === null ? null : latin1(bytes);
}

export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

function openOrNull(path: string): number | null {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    if (ABSENT.has(code)) return null;
    throw corrupt(`${path} cannot be opened (${code})`, cause);
  }
}
