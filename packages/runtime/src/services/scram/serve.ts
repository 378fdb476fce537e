import { statSync } from "node:fs";
import type { JsonObject } from "@sovereign/core";
import type { ScramServeInput, ServeDuty } from "./scram-reports.ts";
import {
  parseListenAddress,
  ScramDoor,
  ScramServer,
  type ScramStatus,
} from "../../scram-http/index.ts";
import { systemClock } from "../../system/index.ts";
import {
  connectScram,
  type Environment,
  isShared,
  openSwitchFolder,
  folderRefusal,
  Settings,
} from "../../home/index.ts";
import { HeldLink, KnownKeys, ScramLatch } from "../../scram/index.ts";
import { AnchorDuty, leaseOfSentinel } from "../../installation/index.ts";
import { SovereignRunner } from "../batch/batch-runner.ts";
import { readTls } from "./read-tls.ts";
import { keepWatching } from "./watch-process.ts";

/** When a journal that the database did not take is tried again. */
const ANCHOR_AGAIN = { firstMs: 1000, maxMs: 60_000 };
const RENEWAL_MS = 1000;
const WARM_UP = 50;
const REHEARSAL_MS = 1000;

/**
 * Take orders over HTTP until told to end. Nothing here waits for a database: a stop is recorded by
 * the sentinel, and taken into the ledger afterwards, when the database is there.
 *
 * @param anchor takes the sentinel's journal into the ledger
 * @throws ERR_HTTP_CONFIG, ERR_FILE_UNREADABLE, ERR_HTTP_LISTEN, ERR_SCRAM_SENTINEL_START
 */
export async function serveScram(
  home: string,
  environment: Environment,
  anchor: () => Promise<void>,
  input: ScramServeInput,
): Promise<void> {
  const { signal, onEvent, plaintext, names } = input;
  const listen = parseListenAddress(input.listen);
  const tls = readTls(input);
  const { scram: folder } = openSwitchFolder(home);
  // Makes the folder where it is missing.
  new ScramLatch(folder);
  const keys = new KnownKeys(folder);
  const troubles = new Troubles(onEvent);
  const duty = new AnchorDuty(
    async () => {
      await anchor();
      troubles.over("ledger");
      onEvent({ event: "recorded" });
    },
    (error) => {
      troubles.tell("ledger", error);
    },
    { ...ANCHOR_AGAIN, signal },
  );
  const link = await holdLink(home, environment, duty, input, troubles);
  try {
    const door = new ScramDoor({
      link,
      keys,
      clock: systemClock,
      health: (status) => healthOf(home, status),
      onStopped: (outcome) => {
        onEvent({ event: "stopped", outcome });
      },
    });
    const place = { clock: systemClock, listen, tls, plaintext, names };
    const server = await ScramServer.start({ door, ...place });
    onEvent({ event: "listening", url: server.url, keys: keys.signatories().length });
    const watching = watchOthers(home, environment, input);
    for (let round = 0; round < WARM_UP; round++) door.rehearse();
    const rehearsals = setInterval(() => {
      door.rehearse();
    }, REHEARSAL_MS);
    const renewals = tls === null ? null : watchTls(input, server, troubles);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => {
        resolve();
      });
    });
    clearInterval(renewals ?? undefined);
    clearInterval(rehearsals);
    await server.close();
    await watching;
  } finally {
    link.close();
    await duty.settled();
  }
}

/** A sentinel, for as long as the server runs. */
function holdLink(
  home: string,
  environment: Environment,
  duty: AnchorDuty,
  { onEvent }: ScramServeInput,
  troubles: Troubles,
): Promise<HeldLink> {
  return HeldLink.open({
    connect: async () => {
      const connected = await connectScram(home, environment);
      // Whichever way a stop came: over HTTP, by the signal file, from a command.
      connected.onRecorded = () => {
        duty.want();
      };
      return connected;
    },
    onChange: (there) => {
      if (there) troubles.over("sentinel");
      onEvent({ event: there ? "sentinel.back" : "sentinel.lost" });
    },
    onFailed: (error) => {
      troubles.tell("sentinel", error);
    },
  });
}

/** On a shared database the other machines are heard, by a process that has it; or it is said. */
async function watchOthers(
  home: string,
  environment: Environment,
  { signal, onEvent }: ScramServeInput,
): Promise<void> {
  const settings = Settings.of(home, environment);
  if (settings.switchDatabaseUrl !== null) {
    await keepWatching({ environment: settings.environment, signal, onEvent });
  } else if (isShared(home)) {
    const why =
      "this data folder belongs to a shared database, and DATABASE_URL is not set. End the server and type: DATABASE_URL=… sovereign scram serve. Or beside it: DATABASE_URL=… sovereign nodes watch";
    onEvent({ event: "unwatched", why });
  }
}

/** What a monitor is told: whether work may run, and not why it may not. */
async function healthOf(home: string, status: ScramStatus | null): Promise<JsonObject> {
  const { runner_status, scram_state, scram_armed, scram_active, scram_complete, lease } =
    await SovereignRunner.healthCheck(
      () =>
        status === null
          ? Promise.reject(new Error("no sentinel"))
          : Promise.resolve({ ...status, lease: leaseOfSentinel({ ...status }) }),
      await folderRefusal(home),
    );
  const heard = lease?.state ?? null;
  return { runner_status, scram_state, scram_armed, scram_active, scram_complete, lease: heard };
}

/** Certificates are renewed every few weeks: a new one is served without a new start. */
function watchTls(input: ScramServeInput, server: ScramServer, troubles: Troubles): NodeJS.Timeout {
  const files = [input.tlsCert, input.tlsKey, input.clientCa].filter((file) => file !== null);
  const stamp = (): string =>
    files.map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs).join(" ");
  let served = stamp();
  let tried = "";
  return setInterval(() => {
    const found = stamp();
    if (found === served) return;
    try {
      const tls = readTls(input);
      if (tls !== null) server.renew(tls);
      served = found;
      troubles.over("certificate");
    } catch (error) {
      // One of the files may be written in a moment; what stays so is told. The old one is served.
      if (tried === found) troubles.tell("certificate", error);
      tried = found;
    }
  }, RENEWAL_MS);
}

/** What fails again and again is told once, until it does not, or fails in another way. */
class Troubles {
  readonly #onEvent: ScramServeInput["onEvent"];
  readonly #told = new Map<ServeDuty, string>();

  constructor(onEvent: ScramServeInput["onEvent"]) {
    this.#onEvent = onEvent;
  }

  tell(what: ServeDuty, error: unknown): void {
    const why = error instanceof Error ? error.message : "unknown";
    if (this.#told.get(what) === why) return;
    this.#told.set(what, why);
    this.#onEvent({ event: "failed", what, why });
  }

  over(what: ServeDuty): void {
    this.#told.delete(what);
  }
}
