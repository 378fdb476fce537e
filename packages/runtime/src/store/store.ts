import { type Signer, SovereignError, traceIdOf, fixClass } from "@sovereign/core";
import pg from "pg";
import {
  type ArchivedBytes,
  type CommitItem,
  type CommitVerdict,
  type LogReader,
  type StoredCheckpoint,
  type StoredEntry,
  type StreamHead,
  EMPTY_STREAM,
} from "../ledger/index.ts";
import { type Entropy, systemEntropy } from "../system/index.ts";
import type {
  BreakerRows,
  BudgetRows,
  IncidentRows,
  ContentStore,
  KeptValues,
  RunFilter,
  RunRow,
  RunStore,
  StepRow,
  StoredTrace,
} from "../runs/index.ts";
import { ApiTokens } from "./api-tokens.ts";
import type { Tokens } from "./tokens.ts";
import { archiveRows } from "./archive-rows.ts";
import type { ArchiveRows } from "./archives.ts";
import { Batcher, heldError } from "./batcher.ts";
import { breakerRows } from "./breakers.ts";
import { budgetRows } from "./budgets.ts";
import { claimOf, Claims } from "./claims.ts";
import { invalid } from "./commit-sql.ts";
import { Committer } from "./committer.ts";
import { codeOf, Database, HELD } from "./database.ts";
import type { ConnectionTarget } from "./connection-target.ts";
import { parseDatabaseUrl } from "./database-url.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "./embedded.ts";
import { HeadFile } from "./head-file.ts";
import { incidentRows } from "./incidents.ts";
import { keptContents } from "./kept-contents.ts";
import { keptValues } from "./kept-values.ts";
import { ANNOUNCE, type FeedOptions, LogFeed } from "./log-feed.ts";
import { proveSet } from "./log-tree.ts";
import { claimSecretOf, migrate } from "./migrate.ts";
import type { RunQueue } from "./run-queue.ts";
import { type RunRecord, runRowOf, type StepRecord } from "./run-rows.ts";
import { SilenceWatch } from "./silence-watch.ts";
import { StoredQueue } from "./stored-queue.ts";
import { openError } from "./open-error.ts";
import { Reading } from "./reading.ts";
import { sealHead } from "./seal-head.ts";
import { readTrace } from "./traces.ts";
import { hangUp } from "./hang-up.ts";

const OPEN_ATTEMPTS = 5;
const QUEUE_FULL = "54000";

export interface StoreOptions {
  /** The data folder's `postgres/`; used where no URL is given. */
  readonly folder: string;
  /** The data folder's `ledger/`: the last signed heads are kept there, outside the database. */
  readonly headsFolder: string;
  /** A PostgreSQL connection URL, which means: no embedded server. */
  readonly databaseUrl: string | null;
  /** How long the server may take to answer before it counts as gone. */
  readonly answerMs?: number;
  readonly entropy?: Entropy;
}

/** A claim of one tenant, for a program of its own. */
export interface TenantClaim {
  readonly claim: string;
  readonly generation: number;
  readonly secret: string;
  readonly role: string;
  /** Null on a server that is given by URL. */
  readonly socket: string | null;
}

/** As long as the database waits for the lock of a log before it says so. */
const CLAIM_HELD_MS = 2000;

/** The one importer of the database driver: ledger, runs and steps over PostgreSQL. */
export class Store implements RunStore {
  readonly #database: Database;
  readonly #batcher: Batcher;
  readonly #reading: Reading;
  readonly tokens: Tokens;
  readonly queue: RunQueue;
  readonly #target: ConnectionTarget;
  readonly #options: StoreOptions;
  #claims: Claims | null = null;

  private constructor(target: ConnectionTarget, options: StoreOptions) {
    this.#target = target;
    this.#options = options;
    this.#database = new Database(target, options.answerMs);
    this.#reading = new Reading(this.#database);
    this.tokens = new ApiTokens(this.#database);
    this.queue = new StoredQueue(this.#database);
    const committer = new Committer(this.#database, options.entropy ?? systemEntropy);
    this.#batcher = new Batcher((items) => committer.commitBatch(items));
    // A program that holds an installation holds it, too.
    Object.freeze(this);
  }

  /**
   * Open the store: start or join the server, bring the schema up to date.
   *
   * @throws ERR_DATABASE_URL, ERR_POSTGRES_MISSING, ERR_POSTGRES_START, ERR_STORE_UNAVAILABLE,
   *   ERR_MIGRATION_CHANGED
   */
  static async open(options: StoreOptions): Promise<Store> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await Store.#openOnce(options);
      } catch (error) {
        // The last user of the embedded server may have stopped it just as we came.
        const gone = error instanceof SovereignError && error.code === "ERR_STORE_UNAVAILABLE";
        if (!gone || options.databaseUrl !== null || attempt === OPEN_ATTEMPTS) throw error;
      }
    }
  }

  static async #openOnce(options: StoreOptions): Promise<Store> {
    const target =
      options.databaseUrl === null
        ? await startEmbedded(options.folder)
        : parseDatabaseUrl(options.databaseUrl);
    const silence = new SilenceWatch(target);
    const connectionTimeoutMillis = 2 * silence.halfMs;
    const client = new pg.Client({ ...ownerConfig(target), connectionTimeoutMillis });
    client.on("error", () => undefined);
    const store = new Store(target, options);
    try {
      await client.connect();
      await silence.during(client, () => migrate(client, target.kind === "embedded"));
      const claims = new Claims(await silence.during(client, () => claimSecretOf(client)));
      store.#claims = claims;
      store.#database.useClaims(claims);
      // A connection of our own from here on: whoever leaves now sees that the server is used.
      await store.#database.learn();
      return store;
    } catch (cause) {
      await store.#database.close();
      throw openError(target, cause);
    } finally {
      await hangUp(client);
    }
  }

  /** Work runs from here on: what decides how long it waits for the database is its lease. */
  relax(): void {
    this.#database.relax();
  }

  /** Where the data are, for people: never with a password. */
  get location(): string {
    if (this.#target.kind === "embedded") return `embedded PostgreSQL in ${this.#target.data}`;
    const { host, pathname } = new URL(this.#target.url);
    return `PostgreSQL at ${host}${pathname}`;
  }

  /** Let go of the database. The embedded server is stopped when nobody else uses it. */
  async close(): Promise<void> {
    await this.#database.close();
    await stopEmbedded(this.#target, this.#options.folder);
  }

  /** True where other machines may use the same database. */
  get shared(): boolean {
    return this.#target.kind === "url";
  }

  /** How often a tenant's claim was replaced, as the database says now. @throws ERR_STORE_UNAVAILABLE */
  async claimGeneration(tenant: string): Promise<number> {
    await this.#database.learn();
    return this.#known().generationOf(claimOf(tenant));
  }

  /**
   * What a program that serves one tenant claims with, and where: the secret of that claim alone.
   * @param generation the present one, or the next: then the former secret counts no more
   * @throws ERR_STREAM_CONFLICT when the claim was replaced meanwhile
   */
  async tenantClaim(tenant: string, generation: number): Promise<TenantClaim> {
    const claim = claimOf(tenant);
    const client = new pg.Client(ownerConfig(this.#target));
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.query("select sovereign.issue_claim($1, $2)", [claim, generation]);
    } catch (cause) {
      if (codeOf(cause) !== "40001") throw openError(this.#target, cause);
      const text = `Another process replaced the claim of ${tenant} at the same time. Do it again.`;
      throw new SovereignError("ERR_STREAM_CONFLICT", text, { tenant }, cause);
    } finally {
      await hangUp(client);
    }
    await this.#database.learn();
    const secret = Buffer.from(this.#known().secretOf(claim, generation)).toString("hex");
    const socket = this.#target.kind === "embedded" ? this.#target.socket : null;
    return { claim, generation, secret, role: "sovereign_app", socket };
  }

  #known(): Claims {
    if (this.#claims === null) throw new Error("the store is not open");
    return this.#claims;
  }

  /** The installation's log as it grows, for who must know of it at once. To be closed by its user. */
  feed(options: FeedOptions): LogFeed {
    return new LogFeed(this.#target, this.#known(), options);
  }

  /** Tell whoever reads the log as it grows that it has. @throws ERR_STORE_UNAVAILABLE */
  async announce(): Promise<void> {
    try {
      await this.#database.repeat(ANNOUNCE, []);
    } catch (error) {
      // Anybody can fill the server's queue of notifications. Who reads the log finds the entry without.
      if (codeOf(error) !== QUEUE_FULL) throw error;
    }
  }

  /** Names of connections to the database that its user may see, such as those of feeds. */
  connected(): Promise<string[]> {
    // Feeds are read where other machines use the database.
    if (!this.shared) return Promise.resolve([]);
    return this.#database.read("", async (client) => {
      const found = await client.query<{ name: string }>(
        "select application_name as name from pg_stat_activity where datname = current_database()",
      );
      return found.rows.map(({ name }) => name);
    });
  }

  /** Whether what is committed is on another server, too, before it is acknowledged. */
  replicated(): Promise<boolean> {
    return this.#database.read("", async (client) => {
      const found = await client.query<{ replicated: boolean }>(
        "select current_setting('synchronous_standby_names') <> '' and current_setting('synchronous_commit') in ('on', 'remote_apply') as replicated",
      );
      return found.rows[0]?.replicated === true;
    });
  }

  commit(item: CommitItem): Promise<CommitVerdict> {
    if (item.entries.length === 0) return Promise.resolve(invalid("it has no entry"));
    return this.#batcher.commit(item);
  }

  async claimRun(tenant: string, runId: string): Promise<number> {
    // Claimed twice is claimed: the epoch that is told is the last one.
    const epoch = await this.#database
      .read(claimOf(tenant), async (client) => {
        const found = await client.query<{ epoch: string | null }>(
          "select sovereign.claim_run($1) as epoch",
          [runId],
        );
        return found.rows[0]?.epoch ?? null;
      })
      .catch((error: unknown) => {
        throw codeOf(error) === HELD ? heldError(tenant, CLAIM_HELD_MS) : error;
      });
    if (epoch !== null) return Number(epoch);
    throw new SovereignError("ERR_RUN_NOT_FOUND", `No run ${runId} is known.`, { runId });
  }

  async findRun(tenant: string, runId: string): Promise<RunRow | null> {
    const rows = await this.#runs(tenant, "where run_id = $1", [runId]);
    return rows[0] ?? null;
  }

  listRuns(tenant: string, wanted: RunFilter): Promise<RunRow[]> {
    const { limit, status, kind, idempotencyKey = null, after = null } = wanted;
    const where =
      "where ($2::text is null or status = $2) and ($3::text is null or kind = $3) and ($4::text is null or idempotency_key = $4) and ($5::text is null or (created_at, run_id) < (select l.created_at, l.run_id from sovereign.runs l where l.run_id = $5)) order by created_at desc, run_id desc limit $1";
    return this.#runs(tenant, where, [limit, status, kind, idempotencyKey, after]);
  }

  async #runs(tenant: string, where: string, values: unknown[]): Promise<RunRow[]> {
    return this.#database.read(claimOf(tenant), async (client) => {
      const found = await client.query<RunRecord>(`select * from sovereign.runs ${where}`, values);
      return found.rows.map(runRowOf);
    });
  }

  async listSteps(tenant: string, runId: string): Promise<StepRow[]> {
    return this.#database.read(claimOf(tenant), async (client) => {
      const found = await client.query<StepRecord>(
        "select step_id, status, attempt, action_digest, output from sovereign.steps where run_id = $1 order by updated_at",
        [runId],
      );
      return found.rows.map((row) => ({
        stepId: row.step_id,
        status: row.status,
        attempt: row.attempt,
        actionDigest: row.action_digest,
        output: row.output,
      }));
    });
  }

  readTrace(tenant: string, runId: string): Promise<StoredTrace> {
    return this.#database.read(claimOf(tenant), (client) =>
      readTrace(client, runId, traceIdOf(runId)),
    );
  }

  /** What archives need to know of a tenant's log. */
  archives(tenant: string): ArchiveRows {
    return archiveRows(this.#database, tenant);
  }

  /** The rows of a tenant's circuit breakers. */
  breakers(tenant: string): BreakerRows {
    return breakerRows(this.#database, tenant);
  }

  /** The rows of a tenant's budgets. */
  budgets(tenant: string): BudgetRows {
    return budgetRows(this.#database, tenant);
  }

  /** The rows of a tenant's incidents. */
  incidents(tenant: string): IncidentRows {
    return incidentRows(this.#database, tenant);
  }

  /** What a tenant's runs keep where every node reaches it. */
  contents(tenant: string): ContentStore {
    return keptContents(this.#database, tenant);
  }

  /** What a tenant keeps between runs. */
  values(tenant: string): KeptValues {
    return keptValues(this.#database, tenant);
  }

  /** What completed steps of a tenant recorded, where their canonical JSON holds a text. */
  async completedOutputs(
    tenant: string,
    holding: string,
  ): Promise<{ readonly runId: string; readonly output: Uint8Array }[]> {
    return this.#database.read(claimOf(tenant), async (client) => {
      const found = await client.query<{ run_id: string; output: Uint8Array }>(
        "select run_id, output from sovereign.steps where log_id = $1 and status = 'completed' and position(convert_to($2, 'UTF8') in output) > 0",
        [tenant, holding],
      );
      return found.rows.map(({ run_id: runId, output }) => ({ runId, output }));
    });
  }

  /** Which of these nonces were used by a tenant's steps, each with its time. */
  async usedNonces(tenant: string, nonces: readonly string[]): Promise<Map<string, string>> {
    return this.#database.read(claimOf(tenant), async (client) => {
      const found = await client.query<{ nonce: string; expires_at: string }>(
        "select nonce, expires_at from sovereign.nonces where log_id = $1 and nonce = any ($2)",
        [tenant, nonces],
      );
      return new Map(found.rows.map(({ nonce, expires_at }) => [nonce, expires_at]));
    });
  }

  async streamHead(log: string, stream: string): Promise<StreamHead> {
    return this.#database.read(claimOf(log), async (client) => {
      const found = await client.query<{ count: string; hash: string }>(
        "select sequence + 1 as count, encode(hash, 'hex') as hash from sovereign.entries where log_id = $1 and stream = $2 order by sequence desc limit 1",
        [log, stream],
      );
      const row = found.rows[0];
      return row === undefined ? EMPTY_STREAM : { count: Number(row.count), hash: row.hash };
    });
  }

  readStream(log: string, stream: string, from = 0): AsyncGenerator<StoredEntry> {
    return this.#reading.readStream(log, stream, from);
  }

  /** Where an entry stands in its log; null where the stream does not have it. */
  indexOf(log: string, stream: string, sequence: number): Promise<number | null> {
    return this.#reading.indexOf(log, stream, sequence);
  }

  /** All entries of a log in order, from an index on: what `immutable_audit.jsonl` holds. */
  readLog(log: string, from = 0): AsyncGenerator<StoredEntry> {
    return this.#reading.readLog(log, from);
  }

  readEnvelopes(log: string, digests: readonly string[]): Promise<Map<string, Uint8Array>> {
    return this.#reading.readEnvelopes(log, digests);
  }

  /** The ledger with the bytes that an archive of it holds. */
  withArchive(archived: ArchivedBytes): LogReader {
    const reading = new Reading(this.#database, archived);
    return {
      readStream: reading.readStream.bind(reading),
      readLog: reading.readLog.bind(reading),
      readEnvelopes: reading.readEnvelopes.bind(reading),
      checkpointCovering: this.checkpointCovering.bind(this),
      proveInclusionSet: this.proveInclusionSet.bind(this),
    };
  }

  async checkpointCovering(log: string, size: number): Promise<StoredCheckpoint | null> {
    return this.#database.read(claimOf(log), async (client) => {
      const found = await client.query<{ size: string; note: string }>(
        "select size, note from sovereign.checkpoints where log_id = $1 and size >= $2 order by size limit 1",
        [log, size],
      );
      const row = found.rows[0];
      return row === undefined ? null : { size: Number(row.size), note: row.note };
    });
  }

  async proveInclusionSet(
    log: string,
    size: number,
    indices: readonly number[],
  ): Promise<readonly Uint8Array[]> {
    return this.#database.read(claimOf(log), (client) => proveSet(client, log, size, indices));
  }

  /**
   * Sign the log's head as it is now.
   *
   * INVARIANT: a head that is smaller than, or differs from, one that was signed before is never
   * signed: the last one is kept outside the database as well, so that a database that was rolled
   * back is noticed.
   *
   * @param origin the log's origin line
   * @throws ERR_LEDGER_ROLLED_BACK
   */
  async sealCheckpoint(log: string, origin: string, signer: Signer): Promise<StoredCheckpoint> {
    const heads = new HeadFile(this.#options.headsFolder, log);
    return sealHead(this.#database, heads, { log, origin, signer });
  }
}

fixClass(Store);
