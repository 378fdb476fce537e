import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
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
 * Give the tests a temporary folder of their own, which ends with them; in memory, where this user may
 * mount a disk and memory is plenty.
 *
 * The tests make hundreds of databases and repositories, and a disk that really syncs takes half of
 * their time. The product syncs as always; and no test takes the power away, so none can tell the two
 * apart. On an ordinary disk they take longer.
 */
export default function useTemporaryFolder(): (() => void) | undefined {
  const parent = tmpdir();
  // Another kind of tests in this run has made it.
  if (existsSync(join(parent, OWNER))) return undefined;
  removeDeserted(parent);
  const path = mkdtempSync(join(parent, PREFIX));
  mount(path);
  writeFileSync(join(path, OWNER), String(process.pid));
  process.env["TMPDIR"] = path;
  return () => {
    process.env["TMPDIR"] = parent;
    remove(path);
  };
}

function mount(path: string): void {
  chmodSync(path, 0o1777);
  if (process.getuid?.() !== 0 || available() < AVAILABLE_MIN) return;
  spawnSync("/bin/mount", ["-t", "tmpfs", "-o", `size=${SIZE},mode=1777`, "none", path]);
}

/** Also while a sentinel that is about to end still has files open in it. */
function remove(path: string): void {
  spawnSync("/bin/umount", ["--lazy", path], { stdio: "ignore" });
  rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

function removeDeserted(parent: string): void {
  for (const name of readdirSync(parent)) {
    const owner = join(parent, name, OWNER);
    if (!name.startsWith(PREFIX) || !existsSync(owner)) continue;
    if (!existsSync(`/proc/${readFileSync(owner, "utf8")}`)) remove(join(parent, name));
  }
}

function available(): number {
  const text = existsSync("/proc/meminfo") ? readFileSync("/proc/meminfo", "utf8") : "";
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
