import { INSTALLATION_LOG, SovereignError, fixClass } from "@sovereign/core";
import type pg from "pg";
import type { StoredEntry } from "../ledger/index.ts";
import { BoundedClient } from "./bounded-client.ts";
import { claimOf, type Claims } from "./claims.ts";
import { BEGIN, codeOf } from "./database.ts";
import type { ConnectionTarget } from "./connection-target.ts";
import { ownerConfig } from "./embedded.ts";

/** Whoever writes what other nodes should read at once says so here. */
const CHANNEL = "sovereign_nodes";
export const ANNOUNCE = { name: "announce", text: `select pg_notify('${CHANNEL}', '')` };
/** A page is at most as many entries; a shorter one was the last. */
export const FEED_PAGE = 500;
const CLOSE_MS = 300;

export interface FeedOptions {
  /** Shown beside the connection in the server's list of activity. */
  readonly name: string;
  /** How long the server has for an answer before the connection is given up. */
  readonly answerMs: number;
  /** There may be something new; a pooler between may lose this. */
  readonly onNews: () => void;
}

/**
 * The installation's log, read as it grows, over a connection of its own: nobody else's work holds it
 * up, and none of the patience of other readers is in it. What fails is read again by the next call,
 * over a new connection.
 */
export class LogFeed {
  readonly #target: ConnectionTarget;
  readonly #options: FeedOptions;
  readonly #claims: Claims;
  #client: pg.Client | null = null;
  #closed = false;

  constructor(target: ConnectionTarget, claims: Claims, options: FeedOptions) {
    this.#target = target;
    this.#claims = claims;
    this.#options = options;
    Object.freeze(this);
  }

  /**
   * The entries from an index on, {@link FEED_PAGE} at most: one round trip.
   * @throws ERR_STORE_UNAVAILABLE
   */
  async read(from: number): Promise<StoredEntry[]> {
    const rows = await this.#ask<{
      index: string;
      hash: string;
      bytes: Uint8Array;
      aside: boolean;
    }>(
      `select index, encode(hash, 'hex') as hash, bytes, stream like 'set-aside/%' as aside from sovereign.entries where log_id = '${INSTALLATION_LOG}' and index >= ${Math.max(0, Math.trunc(from))} order by index limit ${FEED_PAGE}`,
    );
    return rows.map((row) => ({ ...row, index: Number(row.index) }));
  }

  /** The bytes of an envelope; null where it is not there. @throws ERR_STORE_UNAVAILABLE */
  async readEnvelope(digest: string): Promise<Uint8Array | null> {
    if (!/^[0-9a-f]{64}$/.test(digest)) return null;
    const rows = await this.#ask<{ bytes: Uint8Array }>(
      `select bytes from sovereign.envelopes where log_id = '${INSTALLATION_LOG}' and digest = '${digest}'`,
    );
    return rows[0]?.bytes ?? null;
  }

  /** Orderly where the server answers, at once where it does not. */
  async close(): Promise<void> {
    this.#closed = true;
    const timer = setTimeout(() => {
      this.#drop();
    }, CLOSE_MS);
    await this.#client?.end().catch(() => undefined);
    clearTimeout(timer);
    this.#drop();
  }

  /** As the application role, in two messages: a pooler in transaction mode may stand between. */
  async #ask<R>(select: string): Promise<R[]> {
    try {
      this.#client ??= await this.#connect();
      const begun = (await this.#client.query(BEGIN)) as unknown as pg.QueryResult[];
      const { challenge } = begun[2]?.rows[0] as { challenge: string };
      const claim = this.#claims.forTransaction(claimOf(INSTALLATION_LOG), challenge);
      const results = (await this.#client.query(
        `select pg_catalog.set_config('sovereign.claim', '${claim}', true); ${select}; commit`,
      )) as unknown as pg.QueryResult<R & pg.QueryResultRow>[];
      return results[1]?.rows ?? [];
    } catch (cause) {
      this.#drop();
      // The cause's text may quote connection settings; only its code is passed on.
      const code = codeOf(cause) || "connection lost";
      const text = `The installation's log cannot be read (${code}).`;
      throw new SovereignError("ERR_STORE_UNAVAILABLE", text, { code }, cause);
    }
  }

  async #connect(): Promise<pg.Client> {
    if (this.#closed) throw new Error("closed");
    const { name, answerMs, onNews } = this.#options;
    const client = new BoundedClient({
      ...ownerConfig(this.#target),
      application_name: name,
      connectionTimeoutMillis: answerMs,
      query_timeout: answerMs,
      keepAlive: true,
    });
    client.on("error", () => undefined);
    client.on("notification", onNews);
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
    } catch (error) {
      client.connection.stream.destroy();
      throw error;
    }
    return client;
  }

  /** It may hang as its connection does, so nobody waits, and nothing is left open. */
  #drop(): void {
    const client = this.#client;
    this.#client = null;
    client?.connection.stream.destroy();
  }
}

fixClass(LogFeed);
