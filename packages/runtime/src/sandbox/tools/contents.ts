import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { isSecretName, refusedSource } from "./places.ts";

const MEBIBYTE = 1024 * 1024;
const ENTRIES_MAX = 1_000_000;
/** What is read to be known by its contents; more is known by its names, sizes and times. */
const READ_ENTRIES = 20_000;
const READ_BYTES = 64 * MEBIBYTE;
/** With a digest to be held against it is read, so much at the most. */
const DEMANDED_BYTES = 4096 * MEBIBYTE;
const SLICE = 1000;

/** By what the contents of a mount can be known again. */
export interface Contents {
  readonly sha256: string | null;
  readonly listing: string;
  readonly entries: number;
  readonly bytes: number;
}

export interface ContentsOptions {
  /** Read it whole, because somebody said what it must be. */
  readonly demanded: boolean;
  /** Names that keep keys may be in it: those of packages that a project installed. */
  readonly anyName: boolean;
}

interface Entry {
  readonly path: string;
  readonly kind: "file" | "executable" | "folder" | "link";
  readonly size: number;
  readonly seconds: number;
  readonly link: string | null;
}

/**
 * Look at everything in a file or folder. Nothing but files, folders and links may be in it: a
 * socket or a pipe would lead to a process of the machine. Links are told, not followed.
 *
 * @param root without links
 * @throws ERR_MOUNT_REFUSED
 */
export async function readContents(root: string, options: ContentsOptions): Promise<Contents> {
  const entries = await entriesOf(root, options);
  const bytes = entries.reduce((total, { size }) => total + size, 0);
  if (options.demanded && bytes > DEMANDED_BYTES) {
    throw refusedSource(root, `it has ${bytes} bytes: too many for a digest`);
  }
  const listing = createHash("sha256");
  for (const { path, kind, size, seconds, link } of entries) {
    listing.update(`${JSON.stringify([path, kind, link ?? size, seconds])}\n`);
  }
  const isSmall = entries.length <= READ_ENTRIES && bytes <= READ_BYTES;
  const sha256 = options.demanded || isSmall ? await digestAll(root, entries) : null;
  return { sha256, listing: listing.digest("hex"), entries: entries.length, bytes };
}

/** One file has the digest that every other tool says of it. */
async function digestAll(root: string, entries: readonly Entry[]): Promise<string> {
  const contents = createHash("sha256");
  for (const [at, { path, kind, link }] of entries.entries()) {
    if (at % SLICE === 0) await turn();
    const isFile = kind === "file" || kind === "executable";
    if (isFile && path === "") return digestFile(root);
    const said = isFile ? digestFile(join(root, path)) : (link ?? "");
    contents.update(`${JSON.stringify([path, kind, said])}\n`);
  }
  return contents.digest("hex");
}

/** In the order of names, so that the same contents are the same everywhere. */
async function entriesOf(root: string, { anyName }: ContentsOptions): Promise<Entry[]> {
  const found = [entryAt(root, "")];
  const folders = found[0]?.kind === "folder" ? [""] : [];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const name of namesIn(root, folder)) {
      const entry = entryAt(root, folder === "" ? name : `${folder}/${name}`);
      if (!anyName && isSecretName(name)) {
        throw refusedSource(join(root, entry.path), "it keeps keys");
      }
      if (entry.kind === "folder") folders.push(entry.path);
      found.push(entry);
      if (found.length > ENTRIES_MAX) throw refusedSource(root, `more than ${ENTRIES_MAX} entries`);
      if (found.length % SLICE === 0) await turn();
    }
  }
  return found;
}

/** @throws ERR_MOUNT_REFUSED for what is no file, folder or link */
function entryAt(root: string, path: string): Entry {
  const place = path === "" ? root : join(root, path);
  const stat = lstatSync(place);
  const seconds = Math.floor(stat.mtimeMs / 1000);
  if (stat.isDirectory()) return { path, kind: "folder", size: 0, seconds, link: null };
  if (stat.isSymbolicLink()) {
    return { path, kind: "link", size: 0, seconds: 0, link: readlinkSync(place) };
  }
  if (!stat.isFile()) throw refusedSource(place, "it is a socket, pipe or device");
  const kind = (stat.mode & 0o111) === 0 ? "file" : "executable";
  return { path, kind, size: stat.size, seconds, link: null };
}

function namesIn(root: string, folder: string): string[] {
  try {
    return readdirSync(join(root, folder)).sort();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    throw refusedSource(join(root, folder), `it cannot be read: ${why}`);
  }
}

function digestFile(path: string): string {
  const hash = createHash("sha256");
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!fstatSync(file).isFile()) throw refusedSource(path, "it is no file any more");
    const buffer = Buffer.alloc(MEBIBYTE);
    for (let size = readSync(file, buffer); size > 0; size = readSync(file, buffer)) {
      hash.update(buffer.subarray(0, size));
    }
  } finally {
    closeSync(file);
  }
  return hash.digest("hex");
}
