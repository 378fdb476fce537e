import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = "/sys/fs/cgroup/freezer";

/** Whether processes can be frozen here so that no signal reaches them: cgroup v1, and root. */
export const canFreeze = process.getuid?.() === 0 && existsSync(join(ROOT, "cgroup.procs"));

/** Holds processes in uninterruptible sleep, where SIGKILL waits. */
export class Freezer {
  readonly #folder = join(ROOT, `sovereign-test-${process.pid}`);

  #held: string | null = null;

  constructor() {
    mkdirSync(this.#folder, { recursive: true });
  }

  /** Freeze every process whose command line holds the mark. */
  freeze(mark: string): number[] {
    const pids = readdirSync("/proc").filter(
      (pid) => /^\d+$/.test(pid) && commandOf(pid).includes(mark),
    );
    const held = pids.filter((pid) => this.#take(pid));
    writeFileSync(join(this.#folder, "freezer.state"), "FROZEN");
    return held.map(Number);
  }

  /** False for a process that has ended since it was found. */
  #take(pid: string): boolean {
    try {
      writeFileSync(join(this.#folder, "cgroup.procs"), pid);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      return false;
    }
  }

  /** From here on nobody thaws them but us: who writes THAWED writes into another file. */
  hold(): void {
    const state = join(this.#folder, "freezer.state");
    const other = join(tmpdir(), `sovereign-test-${process.pid}.state`);
    writeFileSync(other, "");
    execFileSync("mount", ["--bind", other, state]);
    this.#held = other;
  }

  /** Let them go on: a SIGKILL that waits has its effect now. */
  thaw(): void {
    if (this.#held !== null) {
      execFileSync("umount", ["-l", join(this.#folder, "freezer.state")]);
      rmSync(this.#held);
      this.#held = null;
    }
    writeFileSync(join(this.#folder, "freezer.state"), "THAWED");
  }

  close(): void {
    this.thaw();
    try {
      rmdirSync(this.#folder);
    } catch {
      // A process is still on its way out of it.
    }
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}
