import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * One process, told apart from a later one with the same pid by its start time (clock ticks since
 * boot).
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly started: string;
}

/** The process that has this pid now, null when there is none. */
export function identify(pid: number): ProcessIdentity | null {
  const started = startTimeOf(pid);
  return started === null ? null : { pid, started };
}

/** The start time of a process in clock ticks since boot, null when there is none. */
export function startTimeOf(pid: number): string | null {
  const stat = statOf(pid);
  if (stat !== null) return stat.started;
  if (hasProc()) return null;
  // Without /proc only liveness can be told.
  try {
    process.kill(pid, 0);
    return "unknown";
  } catch {
    return null;
  }
}

/** True while exactly this process runs. One that is dead and not yet reaped does not. */
export function isAlive({ pid, started }: ProcessIdentity): boolean {
  const stat = statOf(pid);
  return stat !== null && stat.started === started && stat.state !== "Z" && stat.state !== "X";
}

/** The state letter of a process that is there: `D` is one that no signal reaches now. */
export function stateOf(pid: number): string | null {
  return statOf(pid)?.state ?? null;
}

/** SIGKILL exactly this process, unless another has its pid by now. */
export function killProcess(identity: ProcessIdentity): void {
  if (startTimeOf(identity.pid) === identity.started) killPid(identity.pid);
}

/** SIGKILL a pid, or a process group where it is negative. A pid that is gone is no failure. */
export function killPid(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}

/** What a process is doing, by its main thread; null when there is none. */
export function sightOf(pid: number): { state: string; ranMs: number } | null {
  const state = stateOf(pid);
  if (state === null) return null;
  // Nanoseconds on a processor, waiting for one, and turns (proc_pid_schedstat(5)).
  return { state, ranMs: Number(readText(`/proc/${pid}/schedstat`).split(" ")[0]) / 1e6 };
}

/** The inode of a process's pid namespace, null when it cannot be told. */
export function pidNamespaceOf(pid: number): string | null {
  try {
    return /\d+/.exec(readlinkSync(`/proc/${pid}/ns/pid`))?.[0] ?? null;
  } catch {
    return null;
  }
}

/** A child of a process, its only one or any; null when it has none. */
export function firstChildOf(pid: number): number | null {
  const listed = readText(`/proc/${pid}/task/${pid}/children`).trim();
  if (listed !== "") return Number(listed.split(" ")[0]);
  // Not every kernel lists them.
  return sweepProcesses(({ parent }) => parent === pid)[0]?.pid ?? null;
}

/** Whether a filter of system calls is in force for it; false for a process that is gone. */
export function isFiltered(pid: number): boolean {
  return /^Seccomp:\s+2$/m.test(readText(`/proc/${pid}/status`));
}

/** What a sweep may ask about a process. Each answer is read when it is asked for. */
export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  /** The paths of its control groups, as `/proc/PID/cgroup` lists them. */
  cgroups(): string;
  environment(): string;
  pidNamespace(): string | null;
}

/** Every living process of this machine but ourselves for which `wanted` answers yes. */
export function sweepProcesses(wanted: (process: ProcessFacts) => boolean): ProcessIdentity[] {
  const found: ProcessIdentity[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const stat = statOf(pid);
    if (stat === null || stat.state === "Z" || stat.state === "X") continue;
    const facts: ProcessFacts = {
      pid,
      parent: stat.parent,
      state: stat.state,
      cgroups: () => readText(`/proc/${pid}/cgroup`),
      environment: () => readText(`/proc/${pid}/environ`),
      pidNamespace: () => pidNamespaceOf(pid),
    };
    if (wanted(facts)) found.push({ pid, started: stat.started });
  }
  return found;
}

/** What a look aside may ask about a process: the same, without waiting for the kernel in our way. */
export interface ProcessGlimpse extends ProcessIdentity {
  readonly parent: number;
  cgroups(): Promise<string>;
  environment(): Promise<string>;
}

/**
 * Look at every living process of this machine but ourselves, one after the other and beside whatever
 * else we do. What the kernel says of a process it says under that one's locks; whoever holds one of
 * them may itself be waiting for a processor, and a caller that must answer others must not wait too.
 *
 * @param folder where the kernel lists processes
 */
export async function glimpseProcesses(
  look: (process: ProcessGlimpse) => Promise<void>,
  folder = "/proc",
): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const read = (file: string): Promise<string> =>
      readFile(join(folder, name, file), "utf8").catch(() => "");
    const stat = parseStat(await read("stat"));
    if (stat === null || stat.state === "Z" || stat.state === "X") continue;
    const { started, parent } = stat;
    const cgroups = (): Promise<string> => read("cgroup");
    await look({ pid, started, parent, cgroups, environment: () => read("environ") });
  }
}

/** True when we are the first process of our session, and it is not somebody else's who started us. */
export function leadsSession(): boolean {
  return statOf(process.pid)?.session === process.pid;
}

interface Stat {
  readonly state: string;
  readonly parent: number;
  readonly session: number;
  readonly started: string;
}

function statOf(pid: number): Stat | null {
  return parseStat(readText(`/proc/${pid}/stat`));
}

function parseStat(stat: string): Stat | null {
  if (stat === "") return null;
  // The command stands in parentheses and may hold anything; the fields are counted after it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state = "", parent, , session] = fields;
  return {
    state,
    parent: Number(parent),
    session: Number(session),
    started: fields[19] ?? "",
  };
}

function hasProc(): boolean {
  return readText("/proc/self/stat") !== "";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
