import { INSTALLATION_LOG } from "@sovereign/core";
import { KeyLog } from "../authority/index.ts";
import { systemClock } from "../system/index.ts";
import type { StoredEntry } from "../ledger/index.ts";
import { openDataFolder, installationIdOf } from "../home/index.ts";
import {
  type LedgerFinding,
  repairLedger,
  setEntryAside,
  Store,
  type StoreOptions,
} from "../store/index.ts";
import { LedgerKeyLog } from "./ledger-key-log.ts";
import { recordLedgerEvent } from "./ledger-record.ts";

/** Findings that a record names; the rest is counted. */
const NAMED_MAX = 50;

/**
 * Find what is no evidence in the ledger, move it out of the way, and record that.
 *
 * @param acceptRollback go on with a database that holds less than was signed
 * @throws ERR_DATA_FOLDER, ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE
 */
export async function repairInstallation(
  home: string,
  databaseUrl: string | null,
  acceptRollback: boolean,
): Promise<LedgerFinding[]> {
  const folder = openDataFolder(home);
  const options = { folder: folder.postgres, headsFolder: folder.ledger, databaseUrl };
  const ofLogs = await repairLedger({ ...options, acceptRollback });
  const store = await Store.open(options);
  try {
    const ofKeys = await repairKeys(store, options, installationIdOf(folder.root));
    const findings = [...ofLogs, ...ofKeys];
    const done = findings.filter((one) => one.done !== "left");
    if (done.length > 0) {
      const named = done.slice(0, NAMED_MAX).map((one) => ({ ...one }));
      const data = { changed: done.length, findings: named };
      await recordLedgerEvent(store, systemClock, "ledger.repaired", "CRITICAL", data);
    }
    return findings;
  } finally {
    await store.close();
  }
}

/** The first key event that does not verify, and what was built on it, is no evidence. */
async function repairKeys(
  store: Store,
  options: StoreOptions,
  installationId: string,
): Promise<LedgerFinding[]> {
  const rows: StoredEntry[] = [];
  for await (const row of store.readStream(INSTALLATION_LOG, "keys")) rows.push(row);
  const oneByOne = {
    readStream: (_log: string, _stream: string, from = 0): AsyncGenerator<StoredEntry> =>
      only(rows[from]),
    readEnvelopes: store.readEnvelopes.bind(store),
    streamHead: store.streamHead.bind(store),
    commit: store.commit.bind(store),
  };
  const keyLog = new KeyLog(new LedgerKeyLog(oneByOne, systemClock), installationId, systemClock);
  for (let at = 0; at < rows.length; at++) {
    try {
      await keyLog.refresh();
    } catch (error) {
      const why = error instanceof Error ? error.message : "it does not verify";
      const found: LedgerFinding[] = [];
      for (const { index } of rows.slice(at)) {
        await setEntryAside(options, INSTALLATION_LOG, index, why);
        found.push({
          log: INSTALLATION_LOG,
          kind: "entry",
          place: index,
          found: why,
          done: "set aside",
        });
      }
      return found;
    }
  }
  return [];
}

async function* only(row: StoredEntry | undefined): AsyncGenerator<StoredEntry> {
  await Promise.resolve();
  if (row !== undefined) yield row;
}
