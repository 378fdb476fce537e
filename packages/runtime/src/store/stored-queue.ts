import { INSTALLATION_LOG, fixClass } from "@sovereign/core";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";
import type { Carriers } from "../ledger/index.ts";
import type { ClaimedRun, RunQueue, WaitingElsewhere, WorkerPlace } from "./run-queue.ts";

const CLAIM = claimOf(INSTALLATION_LOG, "dispatch");

/** The queue as a table, over functions that need the installation's claim for dispatch. */
export class StoredQueue implements RunQueue {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
    Object.freeze(this);
  }

  claim(
    worker: string,
    { node, contents, roles }: WorkerPlace,
    leaseMs: number,
  ): Promise<ClaimedRun | null> {
    // Not tried again where the answer is lost: a run that nobody works on is handed out anew.
    return this.#database.transaction(CLAIM, async (client) => {
      const found = await client.query<Row & Taken>(
        "select log_id, run_id, takes, lost, why from sovereign.claim_queued($1, $2, $3, $4, $5)",
        [worker, node, contents, roles, leaseMs],
      );
      const [row] = found.rows;
      if (row === undefined) return null;
      const { log_id: tenantId, run_id: runId, takes, lost: lostBy, why } = row;
      return { tenantId, runId, takes, lostBy, why };
    });
  }

  elsewhere({ node, contents, roles }: WorkerPlace): Promise<WaitingElsewhere[]> {
    return this.#database.read(CLAIM, async (client) => {
      const found = await client.query<WaitingElsewhere & { runs: string }>(
        "select node, contents, role, runs from sovereign.queued_elsewhere($1, $2, $3)",
        [node, contents, roles],
      );
      return found.rows.map((row) => ({ ...row, runs: Number(row.runs) }));
    });
  }

  carriersOf(tenant: string, runId: string): Promise<Carriers | null> {
    return this.#database.read(claimOf(tenant), async (client) => {
      const found = await client.query<Carriers>(
        "select json_strip_nulls(json_build_object('node', node, 'stays', stays, 'contents', contents, 'role', role)) as carriers from sovereign.queue where log_id = $1 and run_id = $2",
        [tenant, runId],
      );
      const [row] = found.rows as { carriers?: Carriers }[];
      return row?.carriers ?? null;
    });
  }

  async beat(
    worker: string,
    held: readonly Held[],
    leaseMs: number,
  ): Promise<ReadonlyMap<string, boolean>> {
    const values = [
      worker,
      held.map(({ tenantId }) => tenantId),
      held.map(({ runId }) => runId),
      leaseMs,
    ];
    return this.#database.transaction(CLAIM, async (client) => {
      const found = await client.query<Row & { readonly renewed: boolean }>(
        "select log_id, run_id, renewed from sovereign.beat_worker($1, $2, $3, $4)",
        values,
      );
      return new Map(found.rows.map(({ run_id, renewed }) => [run_id, renewed]));
    });
  }

  async giveBack(
    worker: string,
    { tenantId, runId }: Held,
    { waitMs, why }: { readonly waitMs: number; readonly why: string | null },
  ): Promise<void> {
    const values = [worker, tenantId, runId, waitMs, why];
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

fixClass(StoredQueue);

type Held = Pick<ClaimedRun, "tenantId" | "runId">;

interface Row {
  readonly log_id: string;
  readonly run_id: string;
}

interface Taken {
  readonly takes: number;
  readonly lost: string | null;
  readonly why: string | null;
}
