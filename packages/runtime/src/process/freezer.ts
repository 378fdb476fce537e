import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * Let a process go on that a freezer of cgroup v1 holds: SIGKILL waits until then. What holds us, too,
 * stays as it is. (Version 2 kills what it has frozen.)
 */
export function thaw(pid: number): void {
  const held = freezerOf(String(pid));
  const own = freezerOf("self");
  const mount = held === null ? null : freezerMount();
  if (held === null || own === null || mount === null) return;
  // A group that is frozen by one above it goes on when that one does.
  for (let group = held; group !== "/" && !isWithin(own, group); group = dirname(group)) {
    try {
      writeFileSync(join(mount, group, "freezer.state"), "THAWED");
    } catch {
      return;
    }
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function freezerOf(pid: string): string | null {
  return /^\d+:(?:[^:]*,)?freezer(?:,[^:]*)?:(.*)$/m.exec(read(`/proc/${pid}/cgroup`))?.[1] ?? null;
}

function freezerMount(): string | null {
  for (const line of read("/proc/self/mounts").split("\n")) {
    const [, mount = "", type, options = ""] = line.split(" ");
    if (type === "cgroup" && options.split(",").includes("freezer")) return mount;
  }
  return null;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
