import { contentPlaceOf, openContents } from "../contents/index.ts";
import type { ContentStore } from "../runs/index.ts";
import { join } from "node:path";
import { deepFreeze, INSTALLATION_LOG, notMade, SovereignError } from "@sovereign/core";
import { KeyLog, Keystore, type Passphrase } from "../authority/index.ts";
import { type Clock, systemClock } from "../system/index.ts";
import {
  type DataFolder,
  openDataFolder,
  type Config,
  loadConfig,
  installationIdOf,
  refuseOtherRoot,
  noteRefusal,
} from "../home/index.ts";
import { logOrigin } from "../runs/index.ts";
import { Journal, ScramLatch, type ScramLink, writeKeyFile } from "../scram/index.ts";
import { Store } from "../store/index.ts";
import { type Guard, openGuard } from "./sentinel-session.ts";
import { anchorInstallation } from "./nodes/journal-anchor.ts";
import { LedgerKeyLog } from "./ledger-key-log.ts";
import { joinNode, readNodes, type SovereignNode } from "./nodes/membership.ts";

export interface InstallationOptions {
  readonly home: string;
  /** What its `config.yaml` says, where that was read already. */
  readonly config?: Config;
  readonly databaseUrl: string | null;
  readonly passphrase: Passphrase | null;
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
  /** What the sentinel recorded, as far as it was read. */
  readonly journal: Journal;
  readonly clock: Clock;
  readonly config: Config;
  /** What programs of ours are started with: `PATH`, and where the passphrase is. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where a tenant's runs keep what every node must reach; null where that is the data folder alone. */
  readonly contents: ((tenant: string) => ContentStore) | null;
  /** The name of that place; null where other nodes do not reach it. */
  readonly contentPlace: string | null;
  /** Which of the installation's machines this data folder is. */
  readonly node: SovereignNode;
  /** The sentinel under which work runs, started where it does not run; one for each process. */
  guard(): Promise<ScramLink>;
  /** Let the sentinel know the keys as they are now. */
  publishKeys(): void;
  /** Why the other nodes' orders cannot be read; null while they are, or there is no sentinel. */
  cutOff(): unknown;
  /** The origin line of a tenant's log, or of the installation's. */
  origin(log: string): string;
  close(): Promise<void>;
}

const opened = new WeakSet<object>();

/** Nobody who holds it puts other parts into it. */
function opening(installation: Installation): Installation {
  opened.add(installation);
  return Object.freeze(installation);
}

/**
 * Work runs under an installation that was opened here. An object of a program's own, with other parts,
 * would bring a kill switch, a ledger or keys of its own.
 *
 * @throws TypeError for any other object
 */
export function assertOpened(installation: Installation): void {
  if (!opened.has(installation)) throw notMade("an installation");
}

/**
 * Open an installation, making it where it is new.
 *
 * @throws ERR_DATA_FOLDER, ERR_KEYSTORE_…, ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE, and the key log's
 */
export async function openInstallation(options: InstallationOptions): Promise<Installation> {
  const folder = openDataFolder(options.home);
  const config = deepFreeze(options.config ?? loadConfig(folder.root));
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
    const nodes = await readNodes(store, id);
    const keyLog = new KeyLog(new LedgerKeyLog(store, clock), id, clock);
    await keyLog.refresh();
    await keyLog.settle(keystore);
    refuseOtherRoot(folder.root, keyLog);
    const node = await joinNode(store, folder.root, id, nodes, clock);
    const publishKeys = (): void => {
      writeKeyFile(folder.scram, id, keyLog.events);
    };
    publishKeys();
    let guard: Promise<Guard> | null = null;
    let guarding: Guard | null = null;
    const environment = Object.freeze({ ...options.environment });
    const installation = opening({
      id,
      journal: Journal.open(join(folder.scram, "journal.jsonl")),
      config,
      environment,
      contents: openContents({
        content: config.content,
        environment,
        shared: store.shared,
        database: (tenant) => store.contents(tenant),
      }),
      contentPlace: contentPlaceOf({ content: config.content, shared: store.shared }),
      node: Object.freeze(node),
      publishKeys,
      guard: async () => {
        publishKeys();
        guard ??= openGuard(installation, environment);
        guarding = await guard;
        return guarding.link;
      },
      cutOff: () => guarding?.cutOff() ?? null,
      folder: Object.freeze(folder),
      store,
      keystore,
      keyLog,
      scram,
      clock,
      origin: (log) => logOrigin(id, log === INSTALLATION_LOG ? INSTALLATION_LOG : `tenant/${log}`),
      close: async () => {
        // Who could not connect was told so when it asked.
        const connected = await guard?.catch(() => null);
        await connected?.close();
        await store.close();
      },
    });
    await anchorInstallation(installation);
    noteRefusal(folder.root, null);
    return installation;
  } catch (found) {
    const error = describeDamage(found);
    noteRefusal(folder.root, error);
    await store.close();
    throw error;
  }
}

/** An entry that cannot be read, where only what we wrote should stand: the ledger is damaged. */
function describeDamage(error: unknown): unknown {
  const code = error instanceof SovereignError ? error.code : "";
  if (!/^ERR_(FORMAT|JSON|DSSE|STATEMENT|ENVELOPE|KEY_LOG|LEDGER_CORRUPT)/.test(code)) return error;
  const why = error instanceof Error ? error.message : "unreadable";
  const text = `The installation's log is damaged: ${why} To move what is no evidence out of the way, type: sovereign repair ledger`;
  return new SovereignError("ERR_LEDGER_CORRUPT", text, {}, error);
}
