import type { Opened } from "../opened.ts";
import { runNotFound } from "../runs/run-folder.ts";
import { KeptInstallation } from "../serve/kept-installation.ts";
import { type Requeued, requeueRun } from "./requeue-run.ts";
import { Worker, type WorkerInput } from "./worker.ts";

/** Runs that workers carry out. */
export interface WorkerServices {
  /** Carry out runs that wait for workers, until the signal. */
  work(input: WorkerInput): Promise<void>;
  /** Leave a goal that waits for people to the workers. */
  requeue(tenantId: string, runId: string, how: Requeued): Promise<void>;
}

export function workerServices(opened: Opened): WorkerServices {
  return {
    work: async (input) => {
      const kept = new KeptInstallation(opened);
      await new Worker(kept, input).run().finally(() => kept.close());
    },
    requeue: (tenantId, runId, how) =>
      opened(async (installation) => {
        const row = await installation.store.findRun(tenantId, runId);
        if (row === null) throw await runNotFound(installation, tenantId, runId);
        await requeueRun(installation, row, how);
      }),
  };
}
