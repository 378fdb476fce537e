import { INSTALLATION_LOG, SovereignError } from "@sovereign/core";
import pg from "pg";
import { BoundedClient } from "./bounded-client.ts";
import type { Call } from "./call.ts";
import { claimOf, type Claims } from "./claims.ts";
import { claimParameters } from "./commit-sql.ts";
import type { ConnectionTarget } from "./connection-target.ts";
import { ownerConfig } from "./embedded.ts";
import { SilenceWatch } from "./silence-watch.ts";

/** How long a lost connection is tried again before the database counts as gone. */
const RECONNECT_MS = 10_000;
const ANSWER_MS = 60_000;
/** What an orderly end may take before what is left is cut. */
const CLOSE_MS = 1000;

/**
 * One message, so one round trip. What is asked for names this transaction and no other. How a transaction
 * reads is said here: what a role or a database has for it by default counts for nothing.
 */
export const BEGIN =
  "begin isolation level read committed read write; set local role sovereign_app; select sovereign.challenge()";
export const CLAIM = "select pg_catalog.set_config('sovereign.claim', $1, true)";

/** SQLSTATE: another transaction holds a lock for longer than it is waited for. */
export const HELD = "55P03";
/** SQLSTATE: a claim is missing, or is not the one that counts. */
const DENIED = "42501";

/**
 * Connections that act as the application role, which owns nothing and reads one tenant at a time.
 * Nothing is kept in a session, so a pooler in transaction mode may stand between.
 */
export class Database {
  readonly #pool: pg.Pool;
  /** A pooler may stand before a server that is given by URL: there nothing is kept prepared. */
  readonly #prepares: boolean;
  readonly #silence: SilenceWatch;
  /** None before the schema is known to be there. */
  #claims: Claims | null = null;
  /** Those that are open, in use or not. */
  readonly #clients = new Set<pg.PoolClient>();

  /** @param answerMs how long an answer may take before the connection counts as lost */
  constructor(target: ConnectionTarget, answerMs = ANSWER_MS, connectionsMax = 8) {
    const config = ownerConfig(target);
    this.#prepares = target.kind === "embedded";
    this.#silence = new SilenceWatch(target);
    // Whoever logs in as a role may change its settings: nobody but our processes logs in as this one.
    const user = target.kind === "embedded" ? { user: "sovereign_process" } : {};
    this.#pool = new pg.Pool({
      Client: BoundedClient,
      ...config,
      ...user,
      max: connectionsMax,
      connectionTimeoutMillis: this.#silence.halfMs,
      idleTimeoutMillis: 0,
      query_timeout: answerMs,
      keepAlive: true,
    });
    // A connection that dies is replaced at the next use, and who uses it now is told by its query.
    this.#pool.on("error", () => undefined);
    this.#pool.on("connect", (client) => {
      client.on("error", () => undefined);
      this.#clients.add(client);
      client.once("end", () => this.#clients.delete(client));
    });
  }

  /** What runs now has a lease that decides how long it goes on: the longest answer is waited for. */
  relax(): void {
    this.#silence.relax();
  }

  /** What lets this process see and write rows, from here on. */
  useClaims(claims: Claims): void {
    this.#claims = claims;
  }

  /**
   * Run `work` in a transaction as the application role, seeing the rows of one claim's log.
   * @param claim its name; empty for none, which sees no rows
   */
  async transaction<T>(claim: string, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    const attempt = async (): Promise<T> => {
      const client = await this.#connect();
      return this.#silence.during(client, () => this.#transaction(client, claim, work));
    };
    return this.#currently([claim], attempt);
  }

  /** Where a claim is refused, another process may have replaced it since we learned of it. */
  async #currently<T>(claims: readonly string[], work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const replaceable = claims.some((claim) => claim.startsWith(claimOf("")));
      if (codeOf(error) !== DENIED || !replaceable || !(await this.learn())) throw error;
      return await work();
    }
  }

  /** Ask which claims were replaced. @returns whether any is new */
  async learn(): Promise<boolean> {
    return this.transaction(claimOf(INSTALLATION_LOG), async (client) => {
      const found = await client.query<{ name: string; generation: number }>(
        "select name, generation from sovereign.list_generations()",
      );
      return this.#known().learn(
        new Map(found.rows.map(({ name, generation }) => [name, generation])),
      );
    });
  }

  async #transaction<T>(
    client: pg.PoolClient,
    claim: string,
    work: (client: pg.ClientBase) => Promise<T>,
  ): Promise<T> {
    let broken = false;
    try {
      const setting = this.#settingFor(claim, await client.query(BEGIN));
      if (setting !== null) await client.query(CLAIM, [setting]);
      const value = await work(client);
      const end = await client.query("commit");
      if (end.command !== "COMMIT") throw new Error("the transaction was rolled back");
      return value;
    } catch (error) {
      broken = isConnectionLoss(error);
      if (!broken) await client.query("rollback").catch(() => (broken = true));
      throw broken || isRefusal(error) ? unavailable(error) : error;
    } finally {
      client.release(broken);
    }
  }

  /**
   * One call of one of our functions: a transaction of its own in one round trip. The function
   * acts as its owner and judges the claims that come with the call.
   *
   * @param claims names of the claims that are added as the last parameters; none where it takes none
   * @throws ERR_STORE_UNAVAILABLE where nothing was done
   * @throws LostCall where it may have been done, or may yet be
   */
  call<R extends pg.QueryResultRow>(
    call: Call,
    values: unknown[],
    claims: readonly string[] = [],
  ): Promise<R[]> {
    return this.#currently(claims, () => this.#call<R>(call, values, claims));
  }

  async #call<R extends pg.QueryResultRow>(
    call: Call,
    values: unknown[],
    claims: readonly string[],
  ): Promise<R[]> {
    const made = claims.length === 0 ? [] : claimParameters(this.#known(), claims, values);
    const all = [...values, ...made];
    const client = await this.#connect();
    let lost = false;
    try {
      const query = this.#prepares ? { ...call, values: all } : { text: call.text, values: all };
      return (await this.#silence.during(client, () => client.query<R>(query))).rows;
    } catch (error) {
      lost = isConnectionLoss(error);
      if (lost) throw new LostCall(unavailable(error));
      throw isRefusal(error) ? unavailable(error) : error;
    } finally {
      client.release(lost);
    }
  }

  /** As {@link Database.transaction}, tried again for a while when the connection is lost. */
  read<T>(claim: string, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    return this.#persist(() => this.transaction(claim, work));
  }

  /** As {@link Database.call}, tried again likewise: only for what may well be done twice. */
  repeat<R extends pg.QueryResultRow>(call: Call, values: unknown[]): Promise<R[]> {
    return this.#persist(() =>
      this.call<R>(call, values).catch((error: unknown) => {
        throw error instanceof LostCall ? error.reason : error;
      }),
    );
  }

  /** The setting with which a transaction that has just begun claims rows. */
  #settingFor(claim: string, begun: unknown): string | null {
    if (claim === "") return null;
    const [, , challenge] = begun as pg.QueryResult<{ challenge: string }>[];
    return this.#known().forTransaction(claim, challenge?.rows[0]?.challenge ?? "");
  }

  #known(): Claims {
    if (this.#claims === null) throw new Error("claims are made once the store is open");
    return this.#claims;
  }

  async #persist<T>(work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + RECONNECT_MS;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const lost = error instanceof SovereignError && error.code === "ERR_STORE_UNAVAILABLE";
        if (!lost || performance.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  /** Orderly where the server answers; where it does not, nothing is left open. */
  async close(): Promise<void> {
    const left = setTimeout(() => {
      for (const client of this.#clients) client.connection.stream.destroy();
    }, CLOSE_MS);
    // What is still open keeps this process for as long; without it, nothing does.
    left.unref();
    await this.#pool.end();
  }
}

/** A call whose answer never came. Whoever made it finds out what became of it. */
export class LostCall extends Error {
  readonly reason: SovereignError;

  constructor(reason: SovereignError) {
    super(reason.message, { cause: reason });
    this.reason = reason;
  }
}

/** Whether an error says that the connection or the server is gone, or going. */
export function isConnectionLoss(error: unknown): boolean {
  // To wait too long for a lock is an answer of a server that is there.
  if (!(error instanceof Error) || codeOf(error) === HELD) return false;
  return (
    /^(08...|57P0[0-9])$/.test(codeOf(error)) ||
    /^E(PIPE|CONN|NOENT|TIMEDOUT|NOTFOUND)/.test(codeOf(error)) ||
    /Connection terminated|not queryable|timeout/i.test(error.message)
  );
}

/** The server has no room, memory or connections: it did nothing, and says so (SQLSTATE 53). */
function isRefusal(error: unknown): boolean {
  return /^53...$/.test(codeOf(error));
}

/** The SQLSTATE or the system's code of an error; empty where it has none. */
export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}

function unavailable(cause: unknown): SovereignError {
  if (cause instanceof SovereignError) return cause;
  // The cause's text may quote connection settings; only its code is passed on.
  const code = codeOf(cause) || "connection lost";
  return new SovereignError(
    "ERR_STORE_UNAVAILABLE",
    `The database does not answer (${code}). Nothing was acknowledged; try again.`,
    { code },
    cause,
  );
}
