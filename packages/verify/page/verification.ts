import type { Answer, Job } from "./worker.ts";

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): { createScriptURL(url: string): string };
}

/** Runs one job at a time, each in a worker of its own. */
export class Verification {
  readonly #url: string;
  #worker: Worker | null = null;

  /** @param script the page's own, which is the worker's too */
  constructor(script: string) {
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    this.#url = trusted(url);
  }

  /** @returns null when it was cancelled */
  run(job: Job): Promise<Answer | null> {
    this.cancel();
    const worker = new Worker(this.#url);
    this.#worker = worker;
    return new Promise((resolve) => {
      const end = (answer: Answer | null): void => {
        worker.terminate();
        if (this.#worker === worker) this.#worker = null;
        resolve(answer);
      };
      worker.onmessage = ({ data }: MessageEvent<Answer>) => {
        end(data);
      };
      worker.onerror = ({ message }) => {
        end({ problem: { code: "ERR_INTERNAL", message: message || "the worker failed" } });
      };
      this.#cancelled = () => {
        end(null);
      };
      worker.postMessage(job, [job.bundle.buffer]);
    });
  }

  cancel(): void {
    if (this.#worker !== null) this.#cancelled();
  }

  #cancelled: () => void = () => undefined;
}

/** The page's policy lets a script come from this address and from no other. */
function trusted(address: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  if (trustedTypes === undefined) return address;
  const policy = trustedTypes.createPolicy("sovereign-worker", {
    createScriptURL(url) {
      if (url === address) return url;
      throw new TypeError("a script from elsewhere");
    },
  });
  return policy.createScriptURL(address);
}
