import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREFIX = "sov-tests-";
/** Whose disk it is: one of a run that was killed is let go by the next. */
const OWNER = ".owner";
const GIGABYTE = 1024 ** 3;
const SIZE = 6 * GIGABYTE;
/** What the machine must have left: the disk takes only what the tests write. */
const AVAILABLE_MIN = 10 * GIGABYTE;

/**
 * Put the tests' temporary folders into memory, where this user may mount a disk and memory is plenty.
 *
 * The tests make hundreds of databases and repositories, and a disk that really syncs takes half of
 * their time. The product syncs as always; and no test takes the power away, so none can tell the two
 * apart. Elsewhere the tests use the ordinary folder, and take longer.
 */
export default function useMemoryDisk(): (() => void) | undefined {
  const parent = tmpdir();
  if (existsSync(join(parent, OWNER))) return undefined;
  removeDeserted(parent);
  const path = mount(parent);
  if (path === null) return undefined;
  process.env["TMPDIR"] = path;
  return () => {
    process.env["TMPDIR"] = parent;
    unmount(path);
  };
}

function mount(parent: string): string | null {
  if (process.getuid?.() !== 0 || available() < AVAILABLE_MIN) return null;
  const path = mkdtempSync(join(parent, PREFIX));
  const options = `size=${SIZE},mode=1777`;
  const end = spawnSync("/bin/mount", ["-t", "tmpfs", "-o", options, "none", path]);
  if (end.status !== 0) {
    rmSync(path, { recursive: true });
    return null;
  }
  writeFileSync(join(path, OWNER), String(process.pid));
  return path;
}

/** Also while a sentinel that is about to end still has files open in it. */
function unmount(path: string): void {
  spawnSync("/bin/umount", ["--lazy", path]);
  rmdirSync(path);
}

function removeDeserted(parent: string): void {
  for (const name of readdirSync(parent)) {
    const owner = join(parent, name, OWNER);
    if (!name.startsWith(PREFIX) || !existsSync(owner)) continue;
    if (!existsSync(`/proc/${readFileSync(owner, "utf8")}`)) unmount(join(parent, name));
  }
}

function available(): number {
  const text = existsSync("/proc/meminfo") ? readFileSync("/proc/meminfo", "utf8") : "";
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
