import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, readFile } from "node:fs";
import { lstat, open, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { type ArtifactRef, SovereignError, fields, printable, quoted } from "@sovereign/core";
import { kindAt, makeOwnFolder, openOwnFile, putAside, removeAt } from "../system/index.ts";
import type { ContentStore } from "./ports.ts";

/** The most bytes that one artifact may have. */
export const ARTIFACT_BYTES_MAX = 256 * 1024 * 1024;

/** The artifacts of one run: files below its folder, each written whole or not at all. */
export class ArtifactStore {
  readonly folder: string;
  readonly #contents: ContentStore | null;

  /**
   * @param folder `runs/<run_id>/artifacts`
   * @param contents where other nodes find them; null where they stay in the folder
   */
  constructor(folder: string, contents: ContentStore | null = null) {
    this.folder = folder;
    this.#contents = contents;
  }

  /** @throws ERR_ARTIFACT_CHANGED for a name that leads out of the folder: nobody of ours wrote it */
  pathOf({ name }: Pick<ArtifactRef, "name">): string {
    if (fields.artifactRef.shape.name.safeParse(name).success) return join(this.folder, name);
    const text = `The artifact ${quoted(name)} has a name that no artifact can have.`;
    throw new SovereignError("ERR_ARTIFACT_CHANGED", text, { name: printable(name) });
  }

  /**
   * Write bytes under a name; a repeat of the step replaces what a crashed attempt left.
   * @throws ERR_DATA_FOLDER when something else stands in the place of a folder
   * @throws ERR_CONTENT_UNAVAILABLE, ERR_STORE_UNAVAILABLE where other nodes would not find them
   */
  async put(name: string, bytes: Uint8Array, mediaType: string): Promise<ArtifactRef> {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await this.#write(name, bytes);
    await this.#contents?.put(sha256, bytes);
    return { name, sha256, bytes: bytes.length, media_type: mediaType };
  }

  async #write(name: string, bytes: Uint8Array): Promise<void> {
    const path = this.pathOf({ name });
    makeOwnFolder(dirname(path));
    const temporary = `${path}.partial`;
    removeAt(temporary);
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (kindAt(path) === "folder") putAside(path);
    await rename(temporary, path);
  }

  /**
   * Read an artifact and hold it against its digest. What another node wrote is fetched once.
   * @throws ERR_ARTIFACT_CHANGED when it is missing, other bytes, or no plain file of ours
   * @throws ERR_CONTENT_UNAVAILABLE, ERR_STORE_UNAVAILABLE where only another node's bytes would do
   */
  async get(artifact: Pick<ArtifactRef, "name" | "sha256">): Promise<Uint8Array> {
    const own = await readArtifact(this.pathOf(artifact));
    const fetched =
      own === "missing" ? ((await this.#contents?.get(artifact.sha256)) ?? null) : null;
    const read = fetched ?? own;
    const found = typeof read === "string" ? read : createHash("sha256").update(read).digest("hex");
    if (typeof read !== "string" && found === artifact.sha256) {
      if (fetched !== null) await this.#write(artifact.name, fetched);
      return read;
    }
    throw new SovereignError(
      "ERR_ARTIFACT_CHANGED",
      `The artifact ${artifact.name} should have SHA-256 ${artifact.sha256}; it is ${found}.`,
      { name: artifact.name, expected: artifact.sha256, found },
    );
  }
}

const readDescriptor = promisify(readFile);

/** Its bytes, or in words why there are none: whatever stands there keeps nobody waiting. */
async function readArtifact(path: string): Promise<Uint8Array | string> {
  let file: number;
  try {
    file = openOwnFile(path, "read");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "missing";
    return `unreadable: ${error instanceof Error ? error.message : path}`;
  }
  try {
    const { size } = fstatSync(file);
    if (size > ARTIFACT_BYTES_MAX) return `larger than ${ARTIFACT_BYTES_MAX} bytes`;
    return await readDescriptor(file);
  } finally {
    closeSync(file);
  }
}

/**
 * Read a file that a sandboxed program left: a plain file, not a link, of bounded size.
 *
 * @param path in a folder that hostile code could write
 * @throws ERR_OUTPUT_REFUSED for anything else
 */
export async function readHarvest(path: string): Promise<Uint8Array> {
  const found = await lstat(path).catch(() => null);
  if (found === null) throw refused(path, "missing");
  if (!found.isFile()) throw refused(path, "not a plain file");
  if (found.nlink !== 1) throw refused(path, "a hard link");
  if (found.size > ARTIFACT_BYTES_MAX)
    throw refused(path, `larger than ${ARTIFACT_BYTES_MAX} bytes`);
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function refused(path: string, found: string): SovereignError {
  const name = path.split("/").at(-1) ?? path;
  return new SovereignError("ERR_OUTPUT_REFUSED", `The output ${name} is ${found}.`, { name });
}
