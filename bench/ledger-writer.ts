import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import pg from "pg";
import { createEntry, EMPTY_STREAM, StreamWriter } from "../packages/runtime/src/ledger/index.ts";
import { Store } from "../packages/runtime/src/store/index.ts";

/** One writing process of the ledger benchmark and of the crash test. */
export interface WorkOrder {
  readonly kind: "ledger" | "raw";
  readonly inFlight: number;
  readonly folder: string;
  readonly seconds: number;
}
const WARMUP_SECONDS = 1;
export type WorkResult = "ready" | { readonly events: number; readonly seconds: number };

process.on("message", (order: WorkOrder & { index: number }) => {
  void work(order).then((result) => {
    process.send?.(result);
    process.disconnect();
  });
});
process.send?.("ready" satisfies WorkResult);

async function work(order: WorkOrder & { index: number }): Promise<WorkResult> {
  const { folder, kind } = order;
  const options = { folder: join(folder, "pg"), headsFolder: join(folder, "l"), databaseUrl: null };
  const store = await Store.open(options);
  const write = (seconds: number): Promise<WorkResult> =>
    kind === "ledger"
      ? writeLedger(store, { ...order, seconds })
      : insertRaw(folder, { ...order, seconds });
  try {
    // What is measured is how it goes on, not how it starts.
    await write(WARMUP_SECONDS);
    return await write(order.seconds);
  } finally {
    await store.close();
  }
}

const idOf = (): string =>
  `run_${[...randomBytes(20)].map((byte) => "abcdefghijklmnopqrstuvwxyz234567"[byte & 31]).join("")}`;

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

async function writeLedger(store: Store, { inFlight, seconds }: WorkOrder): Promise<WorkResult> {
  const start = performance.now();
  const end = start + seconds * 1000;
  let events = 0;
  const stream = async (): Promise<void> => {
    const runId = idOf();
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

/** The same bytes, batched as they come, into a table without chains, locks or checks. */
async function insertRaw(folder: string, order: WorkOrder): Promise<WorkResult> {
  const id = createHash("sha256").update(join(folder, "pg")).digest("hex").slice(0, 16);
  const host = join("/tmp", `sovereign-${id}`);
  const client = new pg.Client({ host, port: 5432, user: "sovereign", database: "postgres" });
  await client.connect();
  await client.query(
    "create table if not exists public.raw (id bigserial primary key, bytes bytea not null)",
  );
  const runId = idOf();
  const { bytes } = createEntry(EMPTY_STREAM, { ...fieldsOf(runId, 1), stream: runId });
  const text = `\\x${Buffer.from(bytes).toString("hex")}`;
  const batch = Array.from({ length: order.inFlight }, () => text);
  const start = performance.now();
  const end = start + order.seconds * 1000;
  let events = 0;
  while (performance.now() < end) {
    await client.query("insert into public.raw (bytes) select unnest($1::bytea[])", [batch]);
    events += batch.length;
  }
  const seconds = (performance.now() - start) / 1000;
  await client.end();
  return { events, seconds };
}
