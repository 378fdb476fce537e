import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { CommitItem } from "../../src/ledger/index.ts";
import type { Claims } from "../../src/store/claims.ts";
import { ownerConfig, startEmbedded } from "../../src/store/embedded.ts";
import { Store, type StoreOptions } from "../../src/store/index.ts";
import { claimsBy } from "./claims.ts";
import { itemFor, newStream } from "./entries.ts";
import { copyCluster } from "./prepared.ts";
import { PASSWORD, query, startPooler, startPostgres } from "./postgres-server.ts";

/** An embedded database, its owner, a store that serves all tenants, and raw application connections. */
export interface TenantWorld {
  readonly store: Store;
  readonly owner: pg.Client;
  readonly claims: Claims;
  readonly options: StoreOptions;
  /** A tenant's connection, to send any SQL over. */
  hostile(tenant?: string): Promise<pg.Client>;
  close(): Promise<void>;
}

export async function openTenantWorld(): Promise<TenantWorld> {
  const home = mkdtempSync(join(tmpdir(), "sov-border-"));
  const options: StoreOptions = {
    folder: join(home, "pg"),
    headsFolder: join(home, "heads"),
    databaseUrl: null,
  };
  copyCluster(options.folder);
  const store = await Store.open(options);
  const config = ownerConfig(await startEmbedded(options.folder));
  const owner = new pg.Client(config);
  await owner.connect();
  const opened: pg.Client[] = [];
  return {
    store,
    owner,
    options,
    claims: await claimsBy(owner),
    hostile: async () => {
      const client = new pg.Client({ ...config, user: "sovereign_app", statement_timeout: 10_000 });
      client.on("error", () => undefined);
      await client.connect();
      opened.push(client);
      return client;
    },
    close: async () => {
      for (const client of opened) await client.end().catch(() => undefined);
      await owner.end();
      await store.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** The same on a server by URL, behind PgBouncer in transaction mode; each tenant has a role of its own. */
export async function openPooledWorld(tenants: readonly string[]): Promise<TenantWorld> {
  const home = mkdtempSync(join(tmpdir(), "sov-pooled-"));
  const server = await startPostgres(home);
  const loginOf = (tenant: string): string => `login_${tenant}`;
  const pooler = await startPooler(home, server, ["app", ...tenants.map(loginOf)]);
  const options = { folder: home, headsFolder: join(home, "heads"), databaseUrl: pooler.url };
  const store = await Store.open(options);
  for (const tenant of tenants) {
    const role = `create role ${loginOf(tenant)} login password '${PASSWORD}' in role sovereign_app`;
    await query(server.superuser, role);
    // A lock that one leaves behind in a session of the server is waited for by the next.
    await query(server.superuser, `alter role ${loginOf(tenant)} set statement_timeout = '500ms'`);
  }
  const owner = new pg.Client({ connectionString: server.url });
  await owner.connect();
  const opened: pg.Client[] = [];
  return {
    store,
    owner,
    options,
    claims: await claimsBy(owner),
    hostile: async (tenant = "") => {
      const url = pooler.url.replace("//app:", `//${loginOf(tenant)}:`);
      const client = new pg.Client({ connectionString: url, query_timeout: 10_000 });
      client.on("error", () => undefined);
      await client.connect();
      opened.push(client);
      return client;
    },
    close: async () => {
      for (const client of opened) await client.end().catch(() => undefined);
      await owner.end();
      await store.close();
      await pooler.stop();
      await server.stop();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** A new run of a tenant, with its row. */
export function runItem(tenant: string, runId = newStream()): CommitItem {
  const run = {
    runId,
    tenantId: tenant,
    name: `of ${tenant}`,
    mode: "sovereign",
    status: "running",
    plan: Buffer.from("{}"),
    planDigest: "0".repeat(64),
    reason: null,
    sealed: null,
  } as const;
  return { ...itemFor(runId, tenant), run };
}
