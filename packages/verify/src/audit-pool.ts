import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { SovereignError } from "@sovereign/core";
import { type JudgedLines, judgeLines } from "./audit-lines.ts";
import type { LineJudge } from "./verify-audit.ts";

/** Below so many batches, of about 1 MiB each, the threads would take longer to start than to judge. */
const ALONE_BATCHES = 8;
/** As many batches wait for each thread; so much of the file is held at a time. */
const AHEAD_OF_EACH = 3;
const THREADS_MAX = 16;
/** A thread holds one batch, and what comes of it: memory that it does not give back is bounded. */
const LIMITS = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 8 };

interface Waiting {
  readonly resolve: (judged: JudgedLines) => void;
  readonly reject: (why: Error) => void;
}

/** Judges the lines of a large file on all cores. Under Node alone: a browser has one thread. */
export class AuditPool implements LineJudge {
  readonly ahead: number;
  readonly #threads: number;
  readonly #alone: number;
  readonly #workers: AuditThread[] = [];
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
    return this.#thread().judge(batch);
  }

  /** End all threads. What was not judged is given up. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  /** The next in turn. Each is started when it is first asked. */
  #thread(): AuditThread {
    const next = (this.#batches - this.#alone - 1) % this.#threads;
    const thread = this.#workers[next] ?? new AuditThread();
    this.#workers[next] = thread;
    return thread;
  }
}

class AuditThread {
  readonly #worker = new Worker(workerFile(), { resourceLimits: LIMITS });
  /** Asked in this order, and answered so. */
  readonly #waiting: Waiting[] = [];
  #ended: Error | null = null;

  constructor() {
    this.#worker.on("message", (judged: JudgedLines) => this.#waiting.shift()?.resolve(judged));
    this.#worker.on("error", (cause: Error) => {
      this.#end(cause);
    });
    this.#worker.on("exit", (code) => {
      this.#end(new Error(`it ended with ${code}`));
    });
  }

  judge(batch: Uint8Array<ArrayBuffer>): Promise<JudgedLines> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(batch, [batch.buffer]);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #end(cause: Error): void {
    const text = `A thread of the verifier ended: ${cause.message}. Free memory, and try again.`;
    this.#ended ??= new SovereignError("ERR_VERIFY_RESOURCES", text, {}, cause);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}

/** In this repository the source runs as it is; what is published is what was built of it. */
function workerFile(): URL {
  const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./audit-worker.${ending}`, import.meta.url);
}
