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

/** An embedded database, its owner, a store that serves all tenants, and raw application connections. */
export interface TenantWorld {
  readonly store: Store;
  readonly owner: pg.Client;
  readonly claims: Claims;
  readonly options: StoreOptions;
  /** A connection of the application role, to send any SQL over. */
  hostile(): Promise<pg.Client>;
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
