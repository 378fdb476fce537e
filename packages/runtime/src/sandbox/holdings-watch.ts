import { fileLocksByPid } from "../process/index.ts";
import { DEATH_COSTS, type DeathCosts, FILE_LOCKS, HOLDINGS } from "./holdings.ts";
import type { WatchedPath } from "./types.ts";

/**
 * How often what paths own is looked at. What is made in between is bounded by what the processors
 * can make: some thousand objects, which the kernel frees faster than they were made.
 */
const TICK_MS = 20;
/** Of one processor it uses about this much, where there are so many paths that looking takes long. */
const SHARE = 0.1;
const TICK_MS_MOST = 3 * TICK_MS;
/** How often locks are counted: to list them holds up whoever locks, on the whole machine. */
const LOCKS_MS = 100;
const NO_LOCKS: ReadonlyMap<number, number> = new Map();
const MEBIBYTE = 1024 * 1024;
/** What every path owns of the kernel's memory: its namespaces, mounts and first processes. */
const PATH_BYTES = MEBIBYTE;

/**
 * Ends paths that own more than a stop could free in time: one alone, or all of them together. No
 * limit of the kernel does that: the one of a group's memory counts the kernel's own among the
 * gigabytes that are freed at once.
 *
 * Memory of the kernel is what mappings, page tables, descriptors, sockets, watches and everything
 * else consist of that a death has to take apart; each byte takes at most some nanoseconds.
 */
export class HoldingsWatch {
  readonly #costs: DeathCosts;
  readonly #paths = new Set<WatchedPath>();
  /** Told to end, and not yet gone. */
  readonly #ended = new WeakSet<WatchedPath>();
  /** What it owned of the kernel's memory when the kernel had last forgotten the rest. */
  readonly #known = new WeakMap<WatchedPath, number>();
  readonly #locks = new WeakMap<WatchedPath, number>();
  readonly #locksByPid: () => Promise<ReadonlyMap<number, number>>;
  #locksCounted = Number.NEGATIVE_INFINITY;
  #judging = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param locksByPid how many file locks each process holds */
  constructor(costs: DeathCosts = DEATH_COSTS, locksByPid = fileLocksByPid) {
    this.#costs = costs;
    this.#locksByPid = locksByPid;
  }

  /** @returns what ends the watching of it */
  add(path: WatchedPath): () => void {
    this.#paths.add(path);
    if (this.#paths.size === 1) this.#wait(TICK_MS);
    return () => {
      this.#paths.delete(path);
      if (this.#paths.size === 0) clearTimeout(this.#timer);
    };
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const started = performance.now();
      void this.look().then(() => {
        const took = performance.now() - started;
        if (this.#paths.size > 0)
          this.#wait(Math.min(Math.max(TICK_MS, took / SHARE), TICK_MS_MOST));
      });
    }, ms);
  }

  /** Look once, as it does again and again. */
  async look(): Promise<void> {
    if (this.#judging) return;
    this.#judging = true;
    try {
      await this.#judgeLocks();
      await this.#judgeEach();
      await this.#judgeAll();
    } finally {
      this.#judging = false;
    }
  }

  async #judgeLocks(): Promise<void> {
    const now = performance.now();
    if (now - this.#locksCounted < LOCKS_MS) return;
    this.#locksCounted = now;
    // A list that cannot be had now is asked for again: it ends nobody.
    const locks = await this.#locksByPid().catch(() => NO_LOCKS);
    // A machine has some dozens: then there is no need to look whose they are.
    const total = [...locks.values()].reduce((sum, one) => sum + one, 0);
    for (const path of this.#living()) {
      const pids = total < FILE_LOCKS / 8 ? [] : path.groups.members();
      const held = pids.reduce((sum, pid) => sum + (locks.get(pid) ?? 0), 0);
      this.#locks.set(path, held);
      if (held <= FILE_LOCKS) continue;
      this.#ended.add(path);
      path.end(`it held ${held} file locks, at most ${FILE_LOCKS}`);
    }
  }

  async #judgeEach(): Promise<void> {
    const suspects = this.#living().filter((path) => ownedBy(path) > this.#suspicious(path));
    await Promise.all(
      suspects.map((path) =>
        this.#frozen([path], async () => {
          await this.#settle(path);
          const owned = ownedBy(path);
          if (owned > path.kernelBytes) this.#end(path, owned, path.kernelBytes);
        }),
      ),
    );
  }

  /**
   * Above this it is asked how much of it is owned. Who reads much would be asked again and again:
   * what was not its own at the last time may come back, up to what is freed in time in any case.
   */
  #suspicious(path: WatchedPath): number {
    const known = this.#known.get(path);
    if (known === undefined) return path.kernelBytes;
    return Math.min(2 * path.kernelBytes - known, HOLDINGS.kernelBytes.most);
  }

  /** All together: who owns most is the first to go. */
  async #judgeAll(): Promise<void> {
    if (this.#costOf(this.#living(), false) <= this.#costs.budgetMs) return;
    const paths = this.#living();
    await this.#frozen(paths, async () => {
      if (this.#costOf(paths, true) <= this.#costs.budgetMs) return;
      await Promise.all(paths.map((path) => this.#settle(path)));
      const largestFirst = paths.toSorted(
        (one, other) => this.#costOf([other], true) - this.#costOf([one], true),
      );
      for (const path of largestFirst) {
        if (this.#costOf(this.#living(), true) <= this.#costs.budgetMs) return;
        const took = Math.ceil(this.#costOf([path], true));
        this.#ended.add(path);
        path.end(
          `what it owned would take ${took} ms to free, and all paths together more than the ${this.#costs.budgetMs} ms that a stop has`,
        );
      }
    });
  }

  /** Milliseconds. @param exact false may count what is no death's work, and costs less to ask */
  #costOf(paths: readonly WatchedPath[], exact: boolean): number {
    const { pathMs, kernelMsPerMebibyte, memoryMsPerMebibyte, msPerFileLock } = this.#costs;
    return paths.reduce((total, path) => {
      const kernel = Math.max(0, ownedBy(path) - PATH_BYTES) / MEBIBYTE;
      const user = (path.groups.userBytes(exact) ?? 0) / MEBIBYTE;
      const locks = (this.#locks.get(path) ?? 0) * msPerFileLock;
      return total + pathMs + kernel * kernelMsPerMebibyte + user * memoryMsPerMebibyte + locks;
    }, 0);
  }

  /** So that what stays is what it owns. Not at once: what is to be written must be, before. */
  async #settle(path: WatchedPath): Promise<void> {
    await path.groups.forgetCaches();
    if (ownedBy(path) > path.kernelBytes) {
      await path.flush();
      await path.groups.forgetCaches();
    }
    this.#known.set(path, ownedBy(path));
  }

  /** They wait meanwhile, so that none goes on making what it is judged for. */
  async #frozen(paths: readonly WatchedPath[], work: () => Promise<void>): Promise<void> {
    for (const { groups } of paths) groups.freeze(true);
    try {
      await work();
    } finally {
      for (const { groups } of paths) groups.freeze(false);
    }
  }

  #living(): WatchedPath[] {
    return [...this.#paths].filter((path) => !this.#ended.has(path));
  }

  #end(path: WatchedPath, owned: number, most: number): void {
    this.#ended.add(path);
    path.end(`it owned ${inMebibytes(owned)} of kernel memory, at most ${inMebibytes(most)}`);
  }
}

function ownedBy({ groups }: WatchedPath): number {
  return groups.kernelBytes() ?? 0;
}

function inMebibytes(bytes: number): string {
  return `${Math.ceil(bytes / MEBIBYTE)} MiB`;
}
