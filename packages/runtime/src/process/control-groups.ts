import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { constants, getPriority, setPriority } from "node:os";
import { basename, dirname, join } from "node:path";
import { type GroupKernel, makeBelow, makeInFirst, makeInSecond } from "./group-places.ts";
import { identify } from "./process-table.ts";

/**
 * What all paths of an installation together weigh, beside the 1024 (of v2: 100) of one process, or
 * of one whole session where the kernel groups by session. A quarter of that while they live: with
 * as much as a session, a hundred paths keep the terminal waiting from which they are to be stopped;
 * with the least there is, one that holds a lock of the kernel keeps even the sentinel waiting. As
 * sixty-four while they die: eight busy processes then take a ninth of the time and not a third of it.
 * That is still less than the sentinel, of the highest priority, which must see that they are dead;
 * where it has not that priority, it would wait too long behind more than twenty. What is still being
 * set up is ours, holds locks of the kernel meanwhile, and counts as four processes: with less, it
 * takes minutes beside others who keep the processors busy. That needs a hierarchy of its own for the
 * processors (v1), in which a process is moved without leaving the group that kills it.
 */
const STARTING = { "cpu.shares": "4096" };
const LIVING = { "cpu.shares": "256", "cpu.weight": "25" };
const DYING = { "cpu.shares": "65536", "cpu.weight": "6400" };
const DYING_BESIDE_EQUALS = { "cpu.shares": "20480", "cpu.weight": "2000" };

/** Behind the name of an installation's group. */
const STARTING_SUFFIX = ".starting";

export interface GroupLimits {
  readonly processes: number;
  readonly memoryBytes: number;
  /** Of what lies in sockets, which the first version counts apart, and only where it is limited. */
  readonly socketBytes: number;
}

/**
 * One control group in each hierarchy that we may write. It counts, limits and kills all processes
 * that are in it or below it together, whatever these do to leave their parent.
 */
export class ControlGroups {
  readonly folders: readonly string[];
  /** The group by which all paths of an installation share the processor; null where none is. */
  readonly #processor: string | null;
  /** The same for those that are still being set up. */
  readonly #starting: string | null;
  readonly #kernel: GroupKernel | undefined;

  constructor(
    folders: readonly string[],
    processor: string | null = null,
    starting: string | null = null,
    kernel?: GroupKernel,
  ) {
    this.#kernel = kernel;
    this.folders = folders;
    this.#processor = processor;
    this.#starting = processor === null ? null : starting;
  }

  /**
   * The group of a whole installation, made or found: the paths' groups lie in it. Without folders
   * where nothing may be written, as for most ordinary users.
   */
  static root(name: string, kernel?: GroupKernel): ControlGroups {
    const group = `sovereign-${name}`;
    const [processor = null] = makeInFirst(["cpu"], group, kernel);
    const [starting = null] = makeInFirst(["cpu"], `${group}${STARTING_SUFFIX}`, kernel);
    const first = makeInFirst(["pids", "memory"], group, kernel);
    const second = makeInSecond(group, kernel);
    const folders = second === null ? first : [...first, second];
    return new ControlGroups(folders, processor, starting, kernel);
  }

  /** A group below this one. */
  child(name: string): ControlGroups {
    const folders = makeBelow(this.folders, name, this.#kernel);
    return new ControlGroups(folders, this.#processor, this.#starting, this.#kernel);
  }

  /** What a path joins first: the groups of its own, and the one that it shares until it is set up. */
  get joined(): readonly string[] {
    const shared = this.#starting ?? this.#processor;
    return shared === null ? this.folders : [...this.folders, shared];
  }

  /**
   * From here on the path counts as a living one, and its processes as the last of these. To be called
   * while all of them wait, before anything hostile runs: what they start later inherits it.
   */
  async holdDown(): Promise<void> {
    const shared = this.#starting === null ? null : this.#processor;
    for (const pid of this.members()) {
      try {
        if (shared !== null) await writeFile(join(shared, "cgroup.procs"), String(pid));
        setPriority(pid, constants.priority.PRIORITY_LOW);
      } catch (error) {
        // One that has ended meanwhile starts nothing any more.
        if (identify(pid) !== null) throw error;
      }
    }
  }

  /**
   * Let all paths together count as little, or as much: to die takes a process time, and in the
   * lowest class it would wait for everybody else's work.
   * @param ahead whether we, who must see them dead, come before them all the same
   */
  prefer(dying: boolean, ahead: boolean = hasHighestPriority()): void {
    for (const [file, weight] of this.preference(dying, ahead)) {
      try {
        setIfThere(file, weight);
      } catch {
        // They die all the same, only later where others keep the processors busy.
      }
    }
  }

  /** What {@link prefer} writes: files of the kernel, and what into each. */
  preference(dying: boolean, ahead: boolean = hasHighestPriority()): [string, string][] {
    const folders = this.#processor === null ? this.folders : [this.#processor];
    const raised = ahead ? DYING : DYING_BESIDE_EQUALS;
    const all = weigh(folders, dying ? raised : LIVING);
    if (this.#starting === null) return all;
    // Those that are being set up die in their own group.
    return [...all, ...weigh([this.#starting], dying ? raised : STARTING)];
  }

  /** Set limits on all that is in the group together. */
  limit(limits: GroupLimits): this {
    for (const folder of this.folders) {
      setIfThere(join(folder, "pids.max"), String(limits.processes));
      setIfThere(join(folder, "memory.max"), String(limits.memoryBytes));
      setIfThere(join(folder, "memory.limit_in_bytes"), String(limits.memoryBytes));
      setIfThere(join(folder, "memory.swap.max"), "0");
      setIfThere(join(folder, "memory.kmem.tcp.limit_in_bytes"), String(limits.socketBytes));
    }
    return this;
  }

  /** True where the kernel shares the processors by what {@link prefer} says. */
  get weighs(): boolean {
    const folders = this.#processor === null ? this.folders : [this.#processor];
    const files = Object.keys(LIVING);
    return folders.some((folder) => files.some((file) => existsSync(join(folder, file))));
  }

  /** True where the number of processes is limited by the kernel for the whole group. */
  get limitsProcesses(): boolean {
    return this.folders.some((folder) => existsSync(join(folder, "pids.max")));
  }

  /** True where memory is limited by the kernel for the whole group. */
  get limitsMemory(): boolean {
    const files = ["memory.max", "memory.limit_in_bytes"];
    return this.folders.some((folder) => files.some((file) => existsSync(join(folder, file))));
  }

  /**
   * What of the kernel's memory the group owns, null where nobody counts it. The first version's
   * count has in it what the kernel remembers of files that were read, which no death frees.
   */
  kernelBytes(): number | null {
    for (const folder of this.folders) {
      const usage = readOrEmpty(join(folder, "memory.kmem.usage_in_bytes"));
      const sockets = Number(readOrEmpty(join(folder, "memory.kmem.tcp.usage_in_bytes")));
      if (usage !== "") return Number(usage) + sockets;
      const stat = readOrEmpty(join(folder, "memory.stat"));
      if (stat !== "") return kernelBytesOf(stat);
    }
    return null;
  }

  /**
   * What the group owns besides: memory of its processes, and what it wrote into memory. Null where
   * nobody counts it.
   * @param exact false may count files that are only remembered, and costs less to ask
   */
  userBytes(exact: boolean): number | null {
    for (const folder of this.folders) {
      if (!exact) {
        const usage =
          readOrEmpty(join(folder, "memory.usage_in_bytes")) ||
          readOrEmpty(join(folder, "memory.current"));
        if (usage !== "") return Number(usage);
      }
      const stat = readOrEmpty(join(folder, "memory.stat"));
      if (stat !== "") return sumOf(stat, stat.includes("total_rss") ? USER.first : USER.second);
    }
    return null;
  }

  /** Ask the kernel to forget what it remembers of files, where that is counted as the group's. */
  async forgetCaches(): Promise<void> {
    for (const folder of this.folders) {
      try {
        await writeFile(join(folder, "memory.force_empty"), "0", { flag: "r+" });
      } catch {
        // The second version counts apart what is remembered; there is nothing to be forgotten.
      }
    }
  }

  /** Let nothing in the group run, or all of it; what is killed dies either way. */
  freeze(frozen: boolean): void {
    for (const folder of this.folders) {
      try {
        setIfThere(join(folder, "cgroup.freeze"), frozen ? "1" : "0");
      } catch {
        // It may be removed in this very moment.
      }
    }
  }

  /** True where one write kills the whole group, and the groups below it. */
  get killable(): boolean {
    return this.#killFile() !== null;
  }

  /** The file whose writing kills the group, null where the kernel offers none. */
  killFile(): string | null {
    return this.#killFile();
  }

  /** Where the kernel says how long all in the group ran, null where it does not (version 1). */
  get timeFile(): string | null {
    const file = this.#killFile();
    return file === null ? null : join(dirname(file), "cpu.stat");
  }

  /** Kill everything in the group and below it, where the kernel offers it. */
  kill(): void {
    const file = this.#killFile();
    if (file === null) return;
    try {
      writeFileSync(file, "1");
    } catch (error) {
      // The group may be removed in this very moment: then nothing is in it.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }

  /** False when the kernel says that nothing lives in the group or below; null where it cannot. */
  populated(): boolean | null {
    for (const folder of this.folders) {
      const events = readOrEmpty(join(folder, "cgroup.events"));
      if (events !== "") return events.includes("populated 1");
    }
    return null;
  }

  /** The processes that are in any of the groups, or below. */
  members(): number[] {
    const found = new Set<number>();
    for (const folder of this.folders) collectMembers(folder, found);
    return [...found];
  }

  /** How many processes are in the group and below, null where the kernel does not count them. */
  countProcesses(): number | null {
    for (const folder of this.folders) {
      const text = readOrEmpty(join(folder, "pids.current"));
      if (text !== "") return Number(text);
    }
    return null;
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

  /** True when the kernel refused the group a process more than its limit. */
  refusedProcesses(): boolean {
    return this.folders.some((folder) =>
      /^max [1-9]/m.test(readOrEmpty(join(folder, "pids.events"))),
    );
  }

  /** Remove the group and the empty ones below it. */
  remove(): void {
    for (const folder of this.folders) removeFolder(folder);
  }

  /** Of the root group: remove what the paths shared, too. */
  removeAll(): void {
    this.remove();
    if (this.#processor !== null) removeFolder(this.#processor);
    if (this.#starting !== null) removeFolder(this.#starting);
  }

  #killFile(): string | null {
    for (const folder of this.folders) {
      const file = join(folder, "cgroup.kill");
      if (existsSync(file)) return file;
    }
    return null;
  }
}

/**
 * The group below the root group of this name that a process is in, by its `/proc/PID/cgroup`.
 * Empty when it is in the root group itself, null when it is in neither.
 */
export function groupBelow(cgroups: string, name: string): string | null {
  for (const line of cgroups.split("\n")) {
    const parts = line.split("/");
    const at = parts.indexOf(`sovereign-${name}`);
    if (at !== -1) return parts[at + 1] ?? "";
  }
  return null;
}

function weigh(
  folders: readonly string[],
  weights: Readonly<Record<string, string>>,
): [string, string][] {
  return Object.entries(weights).flatMap(([file, weight]) =>
    folders.map((folder): [string, string] => [join(folder, file), weight]),
  );
}

function collectMembers(folder: string, found: Set<number>): void {
  for (const line of readOrEmpty(join(folder, "cgroup.procs")).split("\n")) {
    if (line !== "") found.add(Number(line));
  }
  for (const below of foldersIn(folder)) collectMembers(below, found);
}

function removeFolder(folder: string): void {
  for (const below of foldersIn(folder)) removeFolder(below);
  try {
    rmdirSync(folder);
  } catch {
    // A group that is not empty yet is left: it is in nobody's way, and says what is in it.
  }
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(folder, basename(entry.name)));
  } catch {
    return [];
  }
}

function setIfThere(file: string, value: string): void {
  if (existsSync(file)) writeFileSync(file, value);
}

/** True of a process of the highest priority, in a session that has it too where sessions count. */
function hasHighestPriority(): boolean {
  const highest = constants.priority.PRIORITY_HIGHEST;
  if (getPriority() > highest) return false;
  const session = readOrEmpty("/proc/self/autogroup");
  return session === "" || session.trimEnd().endsWith(`nice ${highest}`);
}

/** What a `memory.stat` of the second version says that a death takes apart. */
const OWNED = [
  ...["slab_unreclaimable", "kernel_stack", "pagetables", "sec_pagetables"],
  ...["percpu", "sock", "vmalloc"],
];
const USER = { first: ["total_rss", "total_shmem"], second: ["anon", "shmem"] };

/** @param stat a `memory.stat` of the second version */
export function kernelBytesOf(stat: string): number | null {
  return /^slab_unreclaimable /m.test(stat) ? sumOf(stat, OWNED) : null;
}

function sumOf(stat: string, names: readonly string[]): number {
  return stat.split("\n").reduce((total, line) => {
    const [name = "", value = ""] = line.split(" ");
    return names.includes(name) ? total + Number(value) : total;
  }, 0);
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
