import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A kind of control group that we may make here. */
interface Hierarchy {
  readonly version: 1 | 2;
  readonly parent: string;
}

export interface GroupLimits {
  readonly processes: number;
  readonly memoryBytes: number;
}

/**
 * The control groups of one path: one folder in each hierarchy that we may write. They count and
 * limit all its processes together, whatever these do to leave their parent.
 */
export class ControlGroups {
  readonly folders: readonly string[];

  private constructor(folders: readonly string[]) {
    this.folders = folders;
  }

  /** Make the groups of a path; none where nothing may be written, as for most ordinary users. */
  static create(id: string, limits: GroupLimits): ControlGroups {
    const folders: string[] = [];
    for (const { parent } of hierarchies()) {
      const folder = join(parent, `sovereign-${id}`);
      try {
        mkdirSync(folder, { mode: 0o700 });
      } catch {
        continue;
      }
      folders.push(folder);
      limit(folder, limits);
    }
    return new ControlGroups(folders);
  }

  /** True where the number of processes is limited by the kernel for the whole group. */
  get limitsProcesses(): boolean {
    return this.folders.some((folder) => existsSync(join(folder, "pids.max")));
  }

  /** True where one write kills the whole group. */
  get killable(): boolean {
    return this.folders.some((folder) => existsSync(join(folder, "cgroup.kill")));
  }

  /** Kill everything in the group, where the kernel offers it. */
  kill(): void {
    for (const folder of this.folders) {
      const file = join(folder, "cgroup.kill");
      if (existsSync(file)) writeFileSync(file, "1");
    }
  }

  /** The processes that are in any of the groups. */
  members(): number[] {
    const found = new Set<number>();
    for (const folder of this.folders) {
      for (const line of readOrEmpty(join(folder, "cgroup.procs")).split("\n")) {
        if (line !== "") found.add(Number(line));
      }
    }
    return [...found];
  }

  /** True when the kernel killed one of the group for want of memory. */
  outOfMemory(): boolean {
    return this.folders.some((folder) => {
      const text =
        readOrEmpty(join(folder, "memory.events")) +
        readOrEmpty(join(folder, "memory.oom_control"));
      return /^oom_kill [1-9]/m.test(text);
    });
  }

  /** Remove the empty groups. */
  remove(): void {
    for (const folder of this.folders) {
      try {
        rmdirSync(folder);
      } catch {
        // A group that is not empty yet is left: it is in nobody's way, and says what is in it.
      }
    }
  }
}

function limit(folder: string, limits: GroupLimits): void {
  const settings: [string, string][] = [
    ["pids.max", String(limits.processes)],
    ["memory.max", String(limits.memoryBytes)],
    ["memory.limit_in_bytes", String(limits.memoryBytes)],
    ["memory.swap.max", "0"],
  ];
  for (const [name, value] of settings) {
    const file = join(folder, name);
    if (existsSync(file)) writeFileSync(file, value);
  }
}

/** The hierarchies that hold us and that matter: v2, and v1's pids and memory. */
function hierarchies(): Hierarchy[] {
  const own = new Map<string, string>();
  for (const line of readOrEmpty("/proc/self/cgroup").split("\n")) {
    const [, controllers = "", ...path] = line.split(":");
    own.set(controllers, path.join(":"));
  }
  const found: Hierarchy[] = [];
  for (const line of readOrEmpty("/proc/self/mounts").split("\n")) {
    const [, mount = "", type = "", options = ""] = line.split(" ");
    const controller = ["pids", "memory"].find((name) => options.split(",").includes(name));
    if (type === "cgroup2") found.push({ version: 2, parent: join(mount, own.get("") ?? "/") });
    if (type === "cgroup" && controller !== undefined) {
      found.push({ version: 1, parent: join(mount, own.get(controller) ?? "/") });
    }
  }
  return found;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
