import { randomBytes } from "node:crypto";
import { EMPTY_STREAM, StreamWriter } from "../packages/runtime/src/ledger/index.ts";
import { Store, type StoreOptions } from "../packages/runtime/src/store/index.ts";

/** Writes until it is killed, and tells its parent what was acknowledged. */
const [folder = "", headsFolder = "", lanes = "32"] = process.argv.slice(2);
const options: StoreOptions = { folder, headsFolder, databaseUrl: null };

/** Stream → how many of its entries were acknowledged, since the last message. */
let acknowledged: Record<string, number> = {};
setInterval(() => {
  process.send?.(acknowledged);
  acknowledged = {};
}, 5);

let store = await Store.open(options);
let reopening: Promise<void> | null = null;

async function lane(): Promise<void> {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const id = [...randomBytes(20)].map((byte) => alphabet.charAt(byte & 31)).join("");
  const stream = `run_${id}`;
  let writer = new StreamWriter(store, "crash", stream, EMPTY_STREAM);
  for (let count = 0; ; ) {
    try {
      const verdict = await writer.append({
        tenantId: "crash",
        runId: stream,
        timestamp: "2026-01-01T00:00:00.000Z",
        eventType: "crash.noted",
        severity: "INFO",
        data: { count },
      });
      if (verdict.status !== "committed") throw new Error(`refused: ${verdict.reason}`);
      count += 1;
      acknowledged[stream] = count;
    } catch (error) {
      if ((error as { code?: string }).code !== "ERR_STORE_UNAVAILABLE") throw error;
      // The server was killed: one lane starts it again, all go on where the stream then stands.
      reopening ??= reopen().finally(() => {
        reopening = null;
      });
      await reopening;
      const head = await store.streamHead("crash", stream);
      writer = new StreamWriter(store, "crash", stream, head);
      count = head.count;
    }
  }
}

async function reopen(): Promise<void> {
  store = await Store.open(options);
}

await Promise.all(Array.from({ length: Number(lanes) }, lane));
