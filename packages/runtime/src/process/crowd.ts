import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** From so many runnable processes a processor on, one that waits may wait for long. */
export const CROWDED = 2;

/** Paths that had this part of the processors' time make the crowd themselves. */
const OURS = 0.5;

/**
 * Whether other work than our paths crowds the processors. Where it does, one in uninterruptible sleep
 * may wait for whoever holds the kernel's lock and has no processor. What the paths do is no reason to
 * wait: else a hostile one would make its own death come later.
 *
 * The dead-man judges by the same rule.
 */
export class Crowd {
  readonly #timeFile: string | null;
  #before: { readonly usedMs: number; readonly at: number } | null = null;

  /**
   * @param timeFile where the kernel says how long all paths ran: `cpu.stat` of a group of version 2.
   *   Null where nobody counts it: then each crowd counts as one of others
   */
  constructor(timeFile: string | null) {
    this.#timeFile = timeFile;
  }

  /** The one who was silent spoke: what the paths did until now is no matter. */
  forget(): void {
    this.#before = null;
  }

  /** To be asked at each look at one who is silent. The first look finds none, for nothing was counted. */
  isOfOthers(): boolean {
    if (!isCrowded()) return false;
    const usedMs = this.#usedMs();
    if (usedMs === null) return true;
    const before = this.#before;
    const at = performance.now();
    this.#before = { usedMs, at };
    if (before === null) return false;
    const all = (at - before.at) * availableParallelism();
    return usedMs - before.usedMs < OURS * all;
  }

  #usedMs(): number | null {
    if (this.#timeFile === null) return null;
    const used = /^usage_usec (\d+)$/m.exec(readOrEmpty(this.#timeFile))?.[1];
    return used === undefined ? null : Number(used) / 1000;
  }
}

/** Whether far more processes want to run now than there are processors (proc_loadavg(5)). */
function isCrowded(): boolean {
  const runnable = Number(/^(?:\S+ ){3}(\d+)\//.exec(readOrEmpty("/proc/loadavg"))?.[1] ?? 0);
  return runnable > CROWDED * availableParallelism();
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
