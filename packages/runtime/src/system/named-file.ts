import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { SovereignError, systemWords } from "@sovereign/core";

export interface NamedFileOptions {
  /** 0600 for what others should not read. */
  readonly mode?: number;
  /** True to refuse a file that is there already. */
  readonly fresh?: boolean;
  /** What its name must end with: what is written depends on it. */
  readonly endings?: readonly string[];
}

/** A file that a person named, open for what a command writes. */
export interface NamedFile {
  write(content: string | Uint8Array): void;
}

/**
 * Write a file that a person named, whole or not at all: it is written beside its place and put
 * there at the end. Something that is no plain file, such as /dev/stdout, is written as it is.
 *
 * @param work writes the file; what it throws leaves everything as it was
 * @throws ERR_FILE_UNWRITABLE before the work where it can be known, and nothing is left behind
 */
export async function writingNamed<T>(
  path: string,
  work: (file: NamedFile) => T | Promise<T>,
  options: NamedFileOptions = {},
): Promise<T> {
  const inherited = INHERITED.exec(path);
  if (inherited !== null) return work(writerTo(path, descriptorOf(inherited)));
  const place = placeOf(path, options);
  const { mode = 0o666, fresh = false } = options;
  const file = attempt(path, () => openSync(place.write, place.flags, mode));
  try {
    const result = await work(writerTo(path, file));
    attempt(path, () => {
      put(place, file, fresh);
    });
    return result;
  } finally {
    closeSync(file);
    if (place.target !== null) rmSync(place.write, { force: true });
  }
}

function put({ write, target }: Place, file: number, fresh: boolean): void {
  if (target === null) return;
  fsyncSync(file);
  // A link does not replace what came there meanwhile.
  if (fresh) linkSync(write, target);
  else renameSync(write, target);
}

/** What the shell opened for us: `/dev/stdout`, `>(command)`. It stays open. */
const INHERITED = /^\/dev\/(?:fd\/(\d{1,6})|stdout|stderr)$/;

function descriptorOf([path, number]: RegExpExecArray): number {
  return number === undefined ? (path === "/dev/stdout" ? 1 : 2) : Number(number);
}

function writerTo(path: string, file: number): NamedFile {
  return {
    write: (content) => {
      attempt(path, () => {
        writeAll(file, Buffer.from(content));
      });
    },
  };
}

interface Place {
  readonly write: string;
  readonly flags: number;
  /** Where what was written goes in the end; null for what is written in place. */
  readonly target: string | null;
}

function placeOf(path: string, { endings, fresh }: NamedFileOptions): Place {
  const found = attempt(path, () => statSync(path, { throwIfNoEntry: false }));
  if (found?.isDirectory() === true) throw unwritable(path, "it is a folder; name a file in it");
  if (endings !== undefined && !endings.some((ending) => path.endsWith(ending))) {
    throw unwritable(path, `expected a name that ends with ${endings.join(" or ")}`);
  }
  const { O_NONBLOCK, O_WRONLY } = constants;
  if (found === undefined) return besideOf(path);
  // A pipe that nobody reads is not waited for.
  if (!found.isFile()) return { write: path, flags: O_WRONLY | O_NONBLOCK, target: null };
  if (fresh === true) throw unwritable(path, "it is there already");
  // A link to a file stays one: its target is replaced.
  const target = attempt(path, () => realpathSync(path));
  attempt(path, () => {
    accessSync(target, constants.W_OK);
  });
  return besideOf(target);
}

function besideOf(target: string): Place {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  const write = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
  return { write, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, target };
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(file, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      // The reader of a pipe is slower than we are.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw unwritable(path, systemWords(cause), cause);
  }
}

function unwritable(path: string, why: string, cause?: unknown): SovereignError {
  const text = `Cannot write ${path}: ${why}.`;
  return new SovereignError("ERR_FILE_UNWRITABLE", text, { path }, cause);
}
