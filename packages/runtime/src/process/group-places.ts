import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Of the second version: what bounds a path, and is handed on to the groups below where it can be. */
const BOUNDING = ["memory", "pids"];

/** What the kernel says of control groups, and does for us. */
export interface GroupKernel {
  /** `/proc/self/mounts`. */
  mounts(): string;
  /** `/proc/self/cgroup`. */
  own(): string;
  /** @throws the system's error, such as EEXIST and EACCES */
  make(folder: string): void;
  /** Hand a controller on to the groups below. @throws the system's error, such as EBUSY */
  enable(folder: string, controller: string): void;
  /** @throws the system's error, such as EBUSY where something is in it */
  remove(folder: string): void;
}

const KERNEL: GroupKernel = {
  mounts: () => readOrEmpty("/proc/self/mounts"),
  own: () => readOrEmpty("/proc/self/cgroup"),
  make: (folder) => {
    mkdirSync(folder, { mode: 0o700 });
  },
  enable: (folder, controller) => {
    writeFileSync(join(folder, "cgroup.subtree_control"), `+${controller}`);
  },
  remove: (folder) => {
    rmdirSync(folder);
  },
};

/** A group of that name in each hierarchy of the first version that has one of these controllers. */
export function makeInFirst(
  controllers: readonly string[],
  name: string,
  kernel: GroupKernel = KERNEL,
): string[] {
  const parents = hierarchies(kernel).flatMap(({ names, mount, own }) =>
    controllers.some((one) => names.includes(one)) ? [join(mount, own)] : [],
  );
  return parents.flatMap((parent) => makeGroup(parent, name, kernel) ?? []);
}

/**
 * A group of that name in the hierarchy of the second version; null where none may be made.
 *
 * There a group with processes of its own hands no controller on to the groups below it ("no internal
 * processes"), and we are in one. Where the controllers that bound a path are to be had beside our own
 * group, as in a slice of systemd, it is made there: what is killed together is bounded together.
 */
export function makeInSecond(name: string, kernel: GroupKernel = KERNEL): string | null {
  const second = hierarchies(kernel).find(({ names }) => names.includes("cgroup2"));
  if (second === undefined) return null;
  const own = join(second.mount, second.own);
  const found: string[] = [];
  for (const parent of second.own === "/" ? [own] : [own, dirname(own)]) {
    const folder = makeGroup(parent, name, kernel);
    if (folder === null) continue;
    if (handsOn(folder, kernel).includes("memory")) {
      for (const other of found) removeIfEmpty(other, kernel);
      return folder;
    }
    found.push(folder);
  }
  const [first = null, ...others] = found;
  for (const other of others) removeIfEmpty(other, kernel);
  return first;
}

/** A group below one of ours, which holds no processes itself. */
export function makeBelow(
  folders: readonly string[],
  name: string,
  kernel: GroupKernel = KERNEL,
): string[] {
  return folders.flatMap((folder) => makeGroup(folder, name, kernel) ?? []);
}

function makeGroup(parent: string, name: string, kernel: GroupKernel): string | null {
  const folder = join(parent, name);
  try {
    kernel.make(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") return null;
  }
  // Only a group that can be joined is one of ours.
  return existsSync(join(folder, "cgroup.procs")) ? folder : null;
}

/** Hand on what bounds a path. @returns what the groups below have */
function handsOn(folder: string, kernel: GroupKernel): string[] {
  const there = wordsIn(join(folder, "cgroup.controllers"));
  const handed = wordsIn(join(folder, "cgroup.subtree_control"));
  for (const one of BOUNDING.filter((name) => there.includes(name) && !handed.includes(name))) {
    try {
      kernel.enable(folder, one);
    } catch {
      // Not ours to hand on, or a process is in the group itself: what is there is told below.
    }
  }
  return wordsIn(join(folder, "cgroup.subtree_control"));
}

function wordsIn(path: string): string[] {
  return readOrEmpty(path).split(/\s+/).filter(Boolean);
}

function removeIfEmpty(folder: string, kernel: GroupKernel): void {
  try {
    kernel.remove(folder);
  } catch {
    // Another process of ours may have a group in it.
  }
}

interface Hierarchy {
  /** Controllers of the first version, or `cgroup2`. */
  readonly names: readonly string[];
  readonly mount: string;
  /** The group that we are in, from the mount on. */
  readonly own: string;
}

function hierarchies(kernel: GroupKernel): Hierarchy[] {
  const own = ownGroups(kernel.own());
  const found: Hierarchy[] = [];
  for (const line of kernel.mounts().split("\n")) {
    const [, mount = "", type = "", options = ""] = line.split(" ");
    if (type !== "cgroup" && type !== "cgroup2") continue;
    const names = type === "cgroup" ? options.split(",") : [type];
    const group = names.map((name) => own.get(name)).find((one) => one !== undefined) ?? "/";
    found.push({ names, mount, own: outermost(group) });
  }
  return found;
}

function ownGroups(text: string): Map<string, string> {
  const own = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [number = "", names = "", ...path] = line.split(":");
    if (number === "") continue;
    for (const name of names.split(",")) own.set(name || "cgroup2", path.join(":"));
  }
  return own;
}

/** Where we run inside one of our own groups, as a sentinel's engine does, its parent. */
function outermost(path: string): string {
  const parts = path.split("/");
  const at = parts.findIndex((part) => part.startsWith("sovereign-"));
  return at === -1 ? path : parts.slice(0, at).join("/") || "/";
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
