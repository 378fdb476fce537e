import { SovereignError } from "@sovereign/core";
import pg from "pg";
import { type ConnectionTarget, ownerConfig } from "./embedded.ts";

/** How long a lost connection is tried again before the database counts as gone. */
const RECONNECT_MS = 10_000;

/** A call of a function of ours, and the name under which a connection keeps it prepared. */
export interface Call {
  readonly name: string;
  readonly text: string;
}

/**
 * Connections that act as the application role, which owns nothing and reads one tenant at a time.
 * Nothing is kept in a session, so a pooler in transaction mode may stand between.
 */
export class Database {
  readonly #pool: pg.Pool;
  /** A pooler may stand before a server that is given by URL: there nothing is kept prepared. */
  readonly #prepares: boolean;

  constructor(target: ConnectionTarget, connectionsMax = 8) {
    const config = ownerConfig(target);
    this.#prepares = target.kind === "embedded";
    const user = target.kind === "embedded" ? { user: "sovereign_app" } : {};
    this.#pool = new pg.Pool({
      ...config,
      ...user,
      max: connectionsMax,
      connectionTimeoutMillis: 5000,
      idleTimeoutMillis: 0,
    });
    // An idle connection that dies is replaced at the next use; the error itself says nothing.
    this.#pool.on("error", () => undefined);
  }

  /** Run `work` in a transaction as the application role, seeing one tenant's rows or none. */
  async transaction<T>(tenant: string, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect().catch((cause: unknown) => {
      throw unavailable(cause);
    });
    let broken = false;
    try {
      await client.query("begin");
      await client.query("set local role sovereign_app");
      await client.query("select set_config('sovereign.tenant', $1, true)", [tenant]);
      const value = await work(client);
      const end = await client.query("commit");
      if (end.command !== "COMMIT") throw new Error("the transaction was rolled back");
      return value;
    } catch (error) {
      broken = isConnectionLoss(error);
      if (!broken) await client.query("rollback").catch(() => (broken = true));
      throw broken ? unavailable(error) : error;
    } finally {
      client.release(broken);
    }
  }

  /**
   * One call of one of our functions: a transaction of its own in one round trip. The function
   * acts as its owner and checks for itself, so no tenant is set.
   */
  async call<R extends pg.QueryResultRow>(call: Call, values: unknown[]): Promise<R[]> {
    try {
      const query = this.#prepares ? { ...call, values } : { text: call.text, values };
      return (await this.#pool.query<R>(query)).rows;
    } catch (error) {
      throw isConnectionLoss(error) ? unavailable(error) : error;
    }
  }

  /** As {@link Database.transaction}, tried again for a while when the connection is lost. */
  async read<T>(tenant: string, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    const deadline = performance.now() + RECONNECT_MS;
    for (;;) {
      try {
        return await this.transaction(tenant, work);
      } catch (error) {
        const lost = error instanceof SovereignError && error.code === "ERR_STORE_UNAVAILABLE";
        if (!lost || performance.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

/** SQLSTATE classes that say: the connection or the server is gone, or going (08, 53, 57P0x). */
export function isConnectionLoss(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: string }).code ?? "";
  return (
    /^(08...|57P0[0-9]|53...)$/.test(code) ||
    /^E(PIPE|CONN|NOENT|TIMEDOUT|NOTFOUND)/.test(code) ||
    /Connection terminated|connection timeout|not queryable|timeout exceeded/i.test(error.message)
  );
}

function unavailable(cause: unknown): SovereignError {
  if (cause instanceof SovereignError) return cause;
  // The cause's text may quote connection settings; only its code is passed on.
  const code = (cause as { code?: string } | null)?.code ?? "connection lost";
  return new SovereignError(
    "ERR_STORE_UNAVAILABLE",
    `The database does not answer (${code}). Nothing was acknowledged; try again.`,
    { code },
    cause,
  );
}
