import { INSTALLATION_LOG } from "@sovereign/core";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";
import type { ClaimedRun, RunQueue } from "./run-queue.ts";

const CLAIM = claimOf(INSTALLATION_LOG, "dispatch");

/** The queue as a table, over functions that need the installation's claim for dispatch. */
export class StoredQueue implements RunQueue {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  claim(worker: string, node: string, leaseMs: number): Promise<ClaimedRun | null> {
    // Not tried again where the answer is lost: a run that nobody works on is handed out anew.
    return this.#database.transaction(CLAIM, async (client) => {
      const found = await client.query<Row & { takes: number; lost: string | null }>(
        "select log_id, run_id, takes, lost from sovereign.claim_queued($1, $2, $3)",
        [worker, node, leaseMs],
      );
      const [row] = found.rows;
      if (row === undefined) return null;
      const { log_id: tenantId, run_id: runId, takes, lost: lostBy } = row;
      return { tenantId, runId, takes, lostBy };
    });
  }

  async beat(worker: string, held: readonly Held[], leaseMs: number): Promise<ReadonlySet<string>> {
    const values = [
      worker,
      held.map(({ tenantId }) => tenantId),
      held.map(({ runId }) => runId),
      leaseMs,
    ];
    return this.#database.transaction(CLAIM, async (client) => {
      const found = await client.query<Row>(
        "select log_id, run_id from sovereign.beat_worker($1, $2, $3, $4)",
        values,
      );
      return new Set(found.rows.map(({ run_id }) => run_id));
    });
  }

  async giveBack(
    worker: string,
    { tenantId, runId }: Held,
    { waitMs, counted }: { readonly waitMs: number; readonly counted: boolean },
  ): Promise<void> {
    const values = [worker, tenantId, runId, waitMs, counted];
    await this.#database.read(CLAIM, (client) =>
      client.query("select sovereign.return_queued($1, $2, $3, $4, $5)", values),
    );
  }

  async finish(worker: string, { tenantId, runId }: Held): Promise<void> {
    await this.#database.read(CLAIM, (client) =>
      client.query("select sovereign.finish_queued($1, $2, $3)", [worker, tenantId, runId]),
    );
  }
}

type Held = Pick<ClaimedRun, "tenantId" | "runId">;

interface Row {
  readonly log_id: string;
  readonly run_id: string;
}
