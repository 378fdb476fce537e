import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import pg from "pg";
import { createEntry, EMPTY_STREAM, StreamWriter } from "../packages/runtime/src/ledger/index.ts";
import { Store } from "../packages/runtime/src/store/index.ts";

/** What a writing process of the ledger benchmark is to do next. */
export interface WorkOrder {
  readonly kind: "ledger" | "raw";
  readonly inFlight: number;
  readonly seconds: number;
}
export type WorkResult = "ready" | { readonly events: number; readonly seconds: number };

const [folder = ""] = process.argv.slice(2);
const options = { folder: join(folder, "pg"), headsFolder: join(folder, "l"), databaseUrl: null };
const store = await Store.open(options);
const raw = await openRaw();

// Orders come one after another, so that both kinds are measured in turns by the same process.
process.on("message", (order: WorkOrder) => {
  const write = order.kind === "ledger" ? writeLedger : insertRaw;
  void write(order).then((result) => process.send?.(result));
});
process.on("disconnect", () => {
  void raw.end().then(() => store.close());
});
process.send?.("ready" satisfies WorkResult);

function newRunId(): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  return `run_${[...randomBytes(20)].map((byte) => alphabet.charAt(byte & 31)).join("")}`;
}

function fieldsOf(runId: string, note: number): Parameters<StreamWriter["append"]>[0] {
  return {
    tenantId: "bench",
    runId,
    timestamp: "2026-01-01T00:00:00.000Z",
    eventType: "bench.noted",
    severity: "INFO",
    data: { note, text: "some words of an ordinary length" },
  };
}

async function writeLedger({ inFlight, seconds }: WorkOrder): Promise<WorkResult> {
  const start = performance.now();
  const end = start + seconds * 1000;
  let events = 0;
  const stream = async (): Promise<void> => {
    const runId = newRunId();
    const writer = new StreamWriter(store, "bench", runId, EMPTY_STREAM);
    while (performance.now() < end) {
      const verdict = await writer.append(fieldsOf(runId, events));
      if (verdict.status !== "committed") throw new Error(verdict.detail);
      events += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, stream));
  return { events, seconds: (performance.now() - start) / 1000 };
}

async function openRaw(): Promise<pg.Client> {
  const id = createHash("sha256").update(options.folder).digest("hex").slice(0, 16);
  const host = join("/tmp", `sovereign-${id}`);
  const client = new pg.Client({ host, port: 5432, user: "sovereign", database: "postgres" });
  await client.connect();
  // One transaction: several processes make the table at once.
  await client.query(
    "select pg_advisory_xact_lock(1); create table if not exists public.raw (id bigserial primary key, bytes bytea not null)",
  );
  return client;
}

/**
 * The same bytes in the same batches, into a table without chains, locks, checks or a second index:
 * made and encoded beforehand, one INSERT a batch, on one connection.
 */
async function insertRaw(order: WorkOrder): Promise<WorkResult> {
  const runId = newRunId();
  const { bytes } = createEntry(EMPTY_STREAM, { ...fieldsOf(runId, 1), stream: runId });
  const text = `\\x${Buffer.from(bytes).toString("hex")}`;
  const batch = Array.from({ length: order.inFlight }, () => text);
  const start = performance.now();
  const end = start + order.seconds * 1000;
  let events = 0;
  while (performance.now() < end) {
    await raw.query("insert into public.raw (bytes) select unnest($1::bytea[])", [batch]);
    events += batch.length;
  }
  return { events, seconds: (performance.now() - start) / 1000 };
}
