import { setTimeout as sleep } from "node:timers/promises";
import {
  ControlGroups,
  glimpseProcesses,
  groupBelow,
  identify,
  isAlive,
  killPid,
  killProcess,
  type ProcessFacts,
  type ProcessIdentity,
  stateOf,
  sweepProcesses,
  thaw,
} from "../process/index.ts";

/** Set for what the engine starts, outside the sandbox: `NAME/PATH_ID`. A sweep looks for it. */
export const MARKER_VARIABLE = "SOVEREIGN_PATH";
/** The engine's own group, among those of its paths. */
export const ENGINE_GROUP = "engine";
/**
 * How the groups of tools begin that controls start outside the sandbox, such as git: they die with
 * everything, and are on no list.
 */
export const TOOLS_PREFIX = "tools-";

const RETRY_MS = 10;
const POLL_MS = 2;
/** Where one write kills all, the processes that are known one by one are tried this much later. */
const SINGLY_MS = 30;

/** A path that the sentinel knows: what to kill, and how to see that it is dead. */
export interface LivePath {
  readonly path_id: string;
  readonly link_id: string;
  readonly tenant_id: string;
  readonly run_id: string;
  readonly outer: ProcessIdentity;
  readonly inner: ProcessIdentity | null;
  readonly pid_namespace: string | null;
  readonly groups: readonly string[];
}

export interface KillTargets {
  /** The installation's name in control groups and markers. */
  readonly name: string;
  readonly paths: readonly LivePath[];
  /** Everything that is in the installation's group dies, the engine too; else the paths alone. */
  readonly everything: boolean;
  readonly root: ControlGroups;
  readonly engine: ProcessIdentity | null;
}

export interface KillReport {
  readonly signalledAt: number;
  /** Null when not all were dead at the deadline. */
  readonly reapedAt: number | null;
  readonly processes: number;
  readonly stragglers: readonly { pid: number; state: string }[];
  readonly errors: readonly string[];
}

/**
 * Kill, by every means at hand at once, again and again until the kernel says that nothing lives,
 * and a sweep of the process table agrees.
 *
 * @param deadlineMs when to stop waiting and say what still lives; times are of `monotonicMs`
 */
export async function killPaths(
  targets: KillTargets,
  monotonicMs: () => number,
  deadlineMs: number,
): Promise<KillReport> {
  const kill = new Kill(targets);
  kill.first();
  const signalledAt = monotonicMs();
  targets.root.prefer(true);
  try {
    return await untilDead(kill, signalledAt, monotonicMs, deadlineMs);
  } finally {
    targets.root.prefer(false);
  }
}

async function untilDead(
  kill: Kill,
  signalledAt: number,
  monotonicMs: () => number,
  deadlineMs: number,
): Promise<KillReport> {
  const processes = kill.count();
  let lastKill = signalledAt;
  for (;;) {
    const populated = kill.populated();
    const now = monotonicMs();
    const told = { signalledAt, processes, errors: kill.errors };
    const late = now >= deadlineMs;
    // To name those that live costs more than to ask whether any does.
    const survivors = populated && !late ? null : kill.survivors();
    if (survivors?.length === 0) return { ...told, reapedAt: now, stragglers: [] };
    if (survivors !== null && late) {
      const stragglers = survivors.map(({ pid }) => ({ pid, state: stateOf(pid) ?? "" }));
      return { ...told, reapedAt: null, stragglers };
    }
    if (now - lastKill >= RETRY_MS) {
      kill.again(now - signalledAt >= SINGLY_MS);
      lastKill = now;
    }
    await sleep(POLL_MS);
  }
}

/** The rungs of the ladder, over one set of targets. */
class Kill {
  readonly errors: string[] = [];
  readonly #targets: KillTargets;
  readonly #groups: readonly ControlGroups[];
  readonly #known: readonly ProcessIdentity[];
  /** Every group dies by one write. */
  readonly #atOnce: boolean;

  constructor(targets: KillTargets) {
    const { everything, root, paths, engine } = targets;
    this.#targets = targets;
    this.#groups = everything ? [root] : paths.map((path) => new ControlGroups(path.groups));
    const first = everything && engine !== null ? [engine] : [];
    this.#known = [...first, ...paths.flatMap(processesOf)];
    this.#atOnce = this.#groups.every((group) => group.killable);
  }

  /** Where one write kills all, it is not held up by trying each process too. */
  first(): void {
    const { engine, everything } = this.#targets;
    const one = engine !== null && everything ? [engine] : [];
    this.#round(this.#atOnce ? one : this.#known);
  }

  /** @param singly also each process by itself */
  again(singly: boolean): void {
    const alive = singly ? this.survivors() : [];
    for (const { pid } of alive) thaw(pid);
    this.#round(singly ? [...this.#known, ...alive] : []);
  }

  count(): number {
    return countIn(this.#groups) ?? this.#known.length;
  }

  /** The kernel's own word that somebody lives in one of the groups; false where it counts none. */
  populated(): boolean {
    return this.#groups.some((group) => group.populated() === true);
  }

  /** Who lives: by group, by name, and at last by a sweep. */
  survivors(): ProcessIdentity[] {
    const members = this.#groups
      .filter((group) => group.populated() === true)
      .flatMap((group) => group.members())
      .map(identify)
      .filter((one) => one !== null);
    if (members.length > 0) return members;
    const alive = this.#known.filter(isAlive);
    if (alive.length > 0) return alive;
    // A few paths of many are gone when the kernel says so; else it is swept for what hides.
    return this.#targets.everything || !this.#atOnce ? findOurs(this.#targets) : [];
  }

  /** One round of every rung. An error of one never keeps another from being tried. */
  #round(processes: readonly ProcessIdentity[]): void {
    for (const group of this.#groups) {
      this.#attempt(() => {
        group.kill();
      });
    }
    for (const identity of processes) {
      this.#attempt(() => {
        if (!isAlive(identity)) return;
        // Each path leads a process group of its own.
        killPid(-identity.pid);
        killProcess(identity);
      });
    }
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (this.errors.length >= 100) return;
      this.errors.push(error instanceof Error ? error.message : "unknown");
    }
  }
}

function processesOf({ outer, inner }: LivePath): ProcessIdentity[] {
  return inner === null ? [outer] : [inner, outer];
}

/** An independent look at the process table: by control group, pid namespace and marker. */
export function findOurs({
  name,
  paths,
  everything,
}: Pick<KillTargets, "name" | "paths" | "everything">): ProcessIdentity[] {
  const ids = new Set(paths.map((path) => path.path_id));
  const namespaces = new Set(paths.map((path) => path.pid_namespace));
  return sweepProcesses((one) => {
    const path = pathOf(one, name);
    if (path !== null && (everything || ids.has(path))) return true;
    const namespace = namespaces.size === 0 ? null : one.pidNamespace();
    return namespace !== null && namespaces.has(namespace);
  });
}

/** Every living process of one path, by control group and marker; the path need not be known. */
export function findPath(name: string, pathId: string): ProcessIdentity[] {
  return sweepProcesses((one) => pathOf(one, name) === pathId);
}

/** A process and its start time, of one that was seen to be none of ours. */
export type Strangers = Set<string>;

/**
 * The paths of which processes live and that are not on the list: by control group, by marker, or
 * as children of the engine. It is looked for aside, so that it holds up nobody.
 *
 * @param strangers those that are none of ours; what is ours inherits that, so they stay so. The set
 *   is renewed at each look
 * @param folder where the kernel lists processes
 */
export async function findUnregistered(
  name: string,
  registered: () => ReadonlySet<string>,
  engine: ProcessIdentity | null,
  strangers: Strangers,
  folder?: string,
): Promise<Set<string>> {
  const found = new Set<string>();
  const seen: Strangers = new Set();
  const before = registered();
  await glimpseProcesses(async (one) => {
    const key = `${one.pid} ${one.started}`;
    const child = engine !== null && one.parent === engine.pid;
    if (strangers.has(key) && !child) {
      seen.add(key);
      return;
    }
    const path = groupBelow(await one.cgroups(), name) ?? markedPath(await one.environment(), name);
    const unlisted = unlistedAs(path, child ? one.pid : null);
    if (unlisted !== null) found.add(unlisted);
    else if (path === null) seen.add(key);
  }, folder);
  strangers.clear();
  for (const key of seen) strangers.add(key);
  // What came upon the list meanwhile, or was taken off it, was on it.
  for (const id of [...before, ...registered()]) found.delete(id);
  return found;
}

/**
 * What a process is called that should be on the list of paths; null for one that need not be.
 * @param child its pid, of one that the engine started
 */
function unlistedAs(path: string | null, child: number | null): string | null {
  if (path === null || path === ENGINE_GROUP) return child === null ? null : `pid ${child}`;
  return path.startsWith(TOOLS_PREFIX) ? null : path;
}

/** Which path of this installation a process belongs to, as far as it can be told from outside. */
function pathOf(one: ProcessFacts, name: string): string | null {
  const group = groupBelow(one.cgroups(), name);
  if (group !== null) return group;
  return markedPath(one.environment(), name);
}

function markedPath(environment: string, name: string): string | null {
  const marker = new RegExp(`(?:^|\\0)${MARKER_VARIABLE}=${name}/([A-Za-z0-9_.-]+)`);
  return marker.exec(environment)?.[1] ?? null;
}

function countIn(groups: readonly ControlGroups[]): number | null {
  let total: number | null = null;
  for (const group of groups) {
    const count = group.countProcesses();
    if (count !== null) total = (total ?? 0) + count;
  }
  return total;
}
