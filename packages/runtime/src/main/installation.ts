import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  digestOf,
  type EntryData,
  fields,
  INSTALLATION_LOG,
  parseEnvelope,
  parseFormat,
  parseStrictJson,
  parseCanonicalJson,
  formats,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import {
  KeyLog,
  type KeyLogEntry,
  type KeyLogStore,
  Keystore,
  type NewKeyEvent,
} from "../authority/index.ts";
import { type Clock, newId, systemClock, systemEntropy, timestampOf } from "../kernel/index.ts";
import { createEntry, EMPTY_STREAM } from "../ledger/index.ts";
import { type DataFolder, logOrigin, openDataFolder } from "../runs/index.ts";
import {
  EnvelopeStore,
  Journal,
  ScramLatch,
  type ScramLink,
  writeKeyFile,
} from "../scram/index.ts";
import { Store } from "../store/index.ts";
import { type Config, loadConfig } from "./config.ts";
import { anchorJournal } from "./journal-anchor.ts";
import { connectScram } from "./sentinel-process.ts";

const installationFile = z.strictObject({
  installation_id: fields.installationId,
  created_at: fields.timestamp,
});

export interface InstallationOptions {
  readonly home: string;
  readonly databaseUrl: string | null;
  readonly passphrase: string | null;
  /** What the sentinel is started with: `PATH`, and where the passphrase is. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** One installation, opened: its folder, its store, its keys and its kill switch. */
export interface Installation {
  readonly id: string;
  readonly folder: DataFolder;
  readonly store: Store;
  readonly keystore: Keystore;
  readonly keyLog: KeyLog;
  readonly scram: ScramLatch;
  readonly clock: Clock;
  readonly config: Config;
  /** The sentinel under which work runs, started where it does not run; one for each process. */
  guard(): Promise<ScramLink>;
  /** Let the sentinel know the keys as they are now. */
  publishKeys(): void;
  /** The origin line of a tenant's log, or of the installation's. */
  origin(log: string): string;
  close(): Promise<void>;
}

/**
 * Open an installation, making it where it is new.
 *
 * @throws ERR_DATA_FOLDER, ERR_KEYSTORE_…, ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE, and the key log's
 */
export async function openInstallation(options: InstallationOptions): Promise<Installation> {
  const folder = openDataFolder(options.home);
  const config = loadConfig(folder.root);
  const clock = systemClock;
  // The cheap refusals come first: a keystore that may not be used starts no database.
  const keystore = await Keystore.open({ folder: folder.keys, passphrase: options.passphrase });
  const scram = new ScramLatch(folder.scram);
  const id = installationIdOf(folder.root);
  const store = await Store.open({
    folder: folder.postgres,
    headsFolder: folder.ledger,
    databaseUrl: options.databaseUrl,
  });
  try {
    const keyLog = new KeyLog(new LedgerKeyLog(store, clock), id, clock);
    await keyLog.refresh();
    const publishKeys = (): void => {
      writeKeyFile(folder.scram, id, keyLog.events);
    };
    publishKeys();
    let link: Promise<ScramLink> | null = null;
    const installation: Installation = {
      id,
      config,
      publishKeys,
      guard: () => {
        publishKeys();
        link ??= connectScram(folder.root, options.environment ?? {});
        return link;
      },
      folder,
      store,
      keystore,
      keyLog,
      scram,
      clock,
      origin: (log) => logOrigin(id, log === INSTALLATION_LOG ? INSTALLATION_LOG : `tenant/${log}`),
      close: async () => {
        // Who could not connect was told so when it asked.
        const connected = await link?.catch(() => null);
        connected?.close();
        await store.close();
      },
    };
    await anchorInstallation(installation);
    return installation;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Take what the sentinel recorded into the ledger. */
export async function anchorInstallation({ folder, store }: Installation): Promise<void> {
  const journal = Journal.open(join(folder.scram, "journal.jsonl"));
  await anchorJournal(store, journal, new EnvelopeStore(join(folder.scram, "envelopes")));
}

/** The installation's identifier, made where it is new. @throws ERR_DATA_FOLDER */
export function installationIdOf(root: string): string {
  const path = join(root, "installation.json");
  if (!existsSync(path)) {
    const installation_id = newId("ins_", systemEntropy);
    const made = { installation_id, created_at: timestampOf(systemClock) };
    try {
      writeFileSync(path, canonicalBytes(made), { mode: 0o600, flag: "wx", flush: true });
    } catch (cause) {
      // Another process may have been quicker; then its id is the one.
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw folderError(path, cause);
    }
  }
  try {
    const value = parseStrictJson(readFileSync(path));
    return parseFormat(installationFile, value, path).installation_id;
  } catch (cause) {
    throw folderError(path, cause);
  }
}

function folderError(path: string, cause: unknown): SovereignError {
  const why = cause instanceof Error ? cause.message : "unknown";
  return new SovereignError("ERR_DATA_FOLDER", `Cannot use ${path}: ${why}.`, { path }, cause);
}

/** The stream `keys` of the installation's log. */
class LedgerKeyLog implements KeyLogStore {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  async read(from: number): Promise<KeyLogEntry[]> {
    const entries: KeyLogEntry[] = [];
    for await (const stored of this.#store.readStream(INSTALLATION_LOG, "keys", from)) {
      const value = parseCanonicalJson(stored.bytes);
      const entry = parseFormat(formats.ledgerEntry, value, "key log entry");
      const { envelopes } = entry.data as EntryData<"key.introduced">;
      const digest = envelopes.key_event;
      const found = await this.#store.readEnvelopes(INSTALLATION_LOG, [digest]);
      const bytes = found.get(digest);
      if (bytes === undefined) {
        const text = `The key log's envelope ${digest} is missing.`;
        throw new SovereignError("ERR_LEDGER_CORRUPT", text);
      }
      const { event_type: eventType, timestamp } = entry;
      entries.push({ eventType, timestamp, hash: stored.hash, envelope: parseEnvelope(bytes) });
    }
    return entries;
  }

  async append(sequence: number, events: readonly NewKeyEvent[]): Promise<boolean> {
    let head =
      sequence === 0 ? EMPTY_STREAM : await this.#store.streamHead(INSTALLATION_LOG, "keys");
    const expectedHead = { count: sequence, hash: head.hash };
    const timestamp = timestampOf(this.#clock);
    const entries = events.map(({ eventType, envelope }) => {
      const entry = createEntry(head, {
        stream: "keys",
        tenantId: INSTALLATION_LOG,
        runId: null,
        timestamp,
        eventType,
        severity: eventType === "key.revoked" ? "WARNING" : "INFO",
        data: { envelopes: { key_event: digestOf(envelope) } },
      });
      head = { count: head.count + 1, hash: entry.hash };
      return entry;
    });
    const verdict = await this.#store.commit({
      log: INSTALLATION_LOG,
      stream: "keys",
      expectedHead,
      entries: entries.map(({ bytes, hash }) => ({ bytes, hash })),
      envelopes: events.map(({ envelope }) => ({
        digest: digestOf(envelope),
        bytes: canonicalBytes(envelope),
      })),
    });
    return verdict.status === "committed";
  }
}
