import { availableParallelism } from "node:os";
import { type JudgedLines, judgeLines } from "./audit-lines.ts";
import { PoolThread } from "./pool-thread.ts";
import type { LineJudge } from "./verify-audit.ts";

/** Below so many batches, of about 1 MiB each, the threads would take longer to start than to judge. */
const ALONE_BATCHES = 8;
/** As many batches wait for each thread; so much of the file is held at a time. */
const AHEAD_OF_EACH = 3;
const THREADS_MAX = 16;

/** Judges the lines of a large file on all cores. Under Node alone: a browser has one thread. */
export class AuditPool implements LineJudge {
  readonly ahead: number;
  readonly #threads: number;
  readonly #alone: number;
  readonly #workers: PoolThread[] = [];
  #batches = 0;

  /**
   * @param threads how many, by default one for each core
   * @param alone how many batches are judged before the first thread is started
   */
  constructor(threads: number = availableParallelism(), alone: number = ALONE_BATCHES) {
    this.#threads = Math.max(1, Math.min(THREADS_MAX, threads));
    this.#alone = alone;
    this.ahead = this.#threads * AHEAD_OF_EACH;
  }

  judge(batch: Uint8Array<ArrayBuffer>): JudgedLines | Promise<JudgedLines> {
    this.#batches += 1;
    if (this.#batches <= this.#alone) return judgeLines(batch);
    return this.#thread().judgeLines(batch);
  }

  /** End all threads. What was not judged is given up. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  /** The next in turn. Each is started when it is first asked. */
  #thread(): PoolThread {
    const next = (this.#batches - this.#alone - 1) % this.#threads;
    const thread = this.#workers[next] ?? new PoolThread();
    this.#workers[next] = thread;
    return thread;
  }
}
