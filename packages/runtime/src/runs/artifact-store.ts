import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ArtifactRef, SovereignError } from "@sovereign/core";

/** The most bytes that one artifact may have. */
export const ARTIFACT_BYTES_MAX = 256 * 1024 * 1024;

/** The artifacts of one run: files below its folder, each written whole or not at all. */
export class ArtifactStore {
  readonly folder: string;

  /** @param folder `runs/<run_id>/artifacts` */
  constructor(folder: string) {
    this.folder = folder;
  }

  pathOf(artifact: Pick<ArtifactRef, "name">): string {
    return join(this.folder, artifact.name);
  }

  /** Write bytes under a name; a repeat of the step replaces what a crashed attempt left. */
  async put(name: string, bytes: Uint8Array, mediaType: string): Promise<ArtifactRef> {
    const path = join(this.folder, name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const temporary = `${path}.partial`;
    await unlink(temporary).catch(ignoreMissing);
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { name, sha256, bytes: bytes.length, media_type: mediaType };
  }

  /**
   * Read an artifact and hold it against its digest.
   * @throws ERR_ARTIFACT_CHANGED when it is missing or other bytes
   */
  async get(artifact: Pick<ArtifactRef, "name" | "sha256">): Promise<Uint8Array> {
    const bytes = await readFile(this.pathOf(artifact)).catch(() => null);
    const found = bytes === null ? "missing" : createHash("sha256").update(bytes).digest("hex");
    if (bytes === null || found !== artifact.sha256) {
      throw new SovereignError(
        "ERR_ARTIFACT_CHANGED",
        `The artifact ${artifact.name} should have SHA-256 ${artifact.sha256}; it is ${found}.`,
        { name: artifact.name, expected: artifact.sha256, found },
      );
    }
    return bytes;
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
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
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

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
