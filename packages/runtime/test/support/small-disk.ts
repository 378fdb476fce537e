import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BLOCK = Buffer.alloc(64 * 1024, 1);

/** A disk of its own in memory, that can be filled and made read-only. Only root may have one. */
export class SmallDisk {
  readonly path: string;
  readonly #ballast: string;

  private constructor(path: string) {
    this.path = path;
    this.#ballast = join(path, "ballast");
  }

  /**
   * @param more further options of the mount
   * @returns null for a user who may not mount one; a root that cannot is a failure
   */
  static mount(megabytes: number, more = "mode=0700"): SmallDisk | null {
    if (process.getuid?.() !== 0) return null;
    const path = mkdtempSync(join(tmpdir(), "sov-disk-"));
    const options = `size=${megabytes}m,mode=0700,${more}`;
    const end = spawnSync("/bin/mount", ["-t", "tmpfs", "-o", options, "none", path]);
    if (end.status === 0) return new SmallDisk(path);
    rmSync(path, { recursive: true });
    throw new Error(`root could mount no small disk: ${String(end.stderr)}`);
  }

  /** Fill it until so many bytes are left. */
  fill(bytesLeft: number): void {
    this.empty();
    const { bavail, bsize } = statfsSync(this.path);
    const file = openSync(this.#ballast, "w");
    try {
      for (let left = bavail * bsize - bytesLeft; left > 0; left -= BLOCK.length) {
        writeSync(file, BLOCK, 0, Math.min(left, BLOCK.length));
      }
    } finally {
      closeSync(file);
    }
  }

  /** Make room again. */
  empty(): void {
    rmSync(this.#ballast, { force: true });
  }

  setReadOnly(readOnly: boolean): void {
    const options = `remount,${readOnly ? "ro" : "rw"}`;
    let found = "";
    // A sentinel stays for a moment after the last command, with files open for writing.
    for (let attempt = 0; attempt < 50; attempt++) {
      const end = spawnSync("/bin/mount", ["-o", options, this.path]);
      if (end.status === 0) return;
      found = String(end.stderr);
      spawnSync("/bin/sleep", ["0.2"]);
    }
    throw new Error(`remount failed: ${found}`);
  }

  unmount(): void {
    spawnSync("/bin/umount", ["--lazy", this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}
