import { Worker } from "node:worker_threads";
import { SovereignError } from "@sovereign/core";
import type { CheckedEnvelopes, EnvelopeBatch } from "./envelope-batch.ts";
import type { JudgedLines } from "./audit-lines.ts";

/** A thread holds one batch, and what comes of it: memory that it does not give back is bounded. */
const LIMITS = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 8 };

interface Waiting {
  readonly resolve: (answer: JudgedLines & CheckedEnvelopes) => void;
  readonly reject: (why: Error) => void;
}

/** One thread of the verifier. It answers in the order in which it is asked. */
export class PoolThread {
  readonly #worker = new Worker(workerFile(), { resourceLimits: LIMITS });
  readonly #waiting: Waiting[] = [];
  #ended: Error | null = null;

  constructor() {
    this.#worker.on("message", (answer: JudgedLines & CheckedEnvelopes) =>
      this.#waiting.shift()?.resolve(answer),
    );
    this.#worker.on("error", (cause: Error) => {
      this.#end(cause);
    });
    this.#worker.on("exit", (code) => {
      this.#end(new Error(`it ended with ${code}`));
    });
  }

  /** Lines of an audit file: they are handed over, and are not here any more. */
  judgeLines(batch: Uint8Array<ArrayBuffer>): Promise<JudgedLines> {
    return this.#ask(batch, [batch.buffer]);
  }

  checkEnvelopes(batch: EnvelopeBatch): Promise<CheckedEnvelopes> {
    return this.#ask(batch, []);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(batch: unknown, transfer: readonly ArrayBuffer[]): Promise<JudgedLines & CheckedEnvelopes> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(batch, transfer);
    });
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
