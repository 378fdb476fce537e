import { statSync } from "node:fs";
import { type JsonObject, SovereignError } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { ScramServeInput } from "./scram-reports.ts";
import {
  parseListenAddress,
  ScramDoor,
  ScramServer,
  type ScramStatus,
  type TlsMaterial,
} from "../../scram-http/index.ts";
import { systemClock } from "../../system/index.ts";
import {
  connectScram,
  type Environment,
  isShared,
  openSwitchFolder,
  refusalOf,
  Settings,
} from "../../home/index.ts";
import { HeldLink, KnownKeys, ScramLatch } from "../../scram/index.ts";
import { AnchorDuty, leaseOfSentinel } from "../../installation/index.ts";
import { SovereignRunner } from "../batch/batch-runner.ts";
import { keepWatching } from "./watch-process.ts";

/** When a journal that the database did not take is tried again. */
const ANCHOR_AGAIN = { firstMs: 1000, maxMs: 60_000 };
const PEM_BYTES_MAX = 1024 * 1024;
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
  const duty = new AnchorDuty(
    async () => {
      await anchor();
      onEvent({ event: "recorded" });
    },
    { ...ANCHOR_AGAIN, signal },
  );
  const link = await HeldLink.open({
    connect: async () => {
      const connected = await connectScram(home, environment);
      // Whichever way a stop came: over HTTP, by the signal file, from a command.
      connected.onRecorded = () => {
        duty.want();
      };
      return connected;
    },
    onChange: (there) => {
      onEvent({ event: there ? "sentinel.back" : "sentinel.lost" });
    },
  });
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
    const renewals = tls === null ? null : watchTls(input, server);
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
      refusalOf(home),
    );
  const heard = lease?.state ?? null;
  return { runner_status, scram_state, scram_armed, scram_active, scram_complete, lease: heard };
}

/** Certificates are renewed every few weeks: a new one is served without a new start. */
function watchTls(input: ScramServeInput, server: ScramServer): NodeJS.Timeout {
  const files = [input.tlsCert, input.tlsKey, input.clientCa].filter((file) => file !== null);
  const stamp = (): string =>
    files.map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs).join(" ");
  let served = stamp();
  return setInterval(() => {
    const found = stamp();
    if (found === served) return;
    try {
      const tls = readTls(input);
      if (tls !== null) server.renew(tls);
      served = found;
    } catch {
      // One of the files may be written in a moment; until then the old certificate is good.
    }
  }, RENEWAL_MS);
}

function readTls({ tlsCert, tlsKey, clientCa }: ScramServeInput): TlsMaterial | null {
  if (tlsCert === null && tlsKey === null && clientCa === null) return null;
  if (tlsCert === null || tlsKey === null) {
    const message = "Expected both --tls-cert and --tls-key; --client-ca goes with them.";
    throw new SovereignError("ERR_HTTP_CONFIG", message);
  }
  return {
    cert: readNamed(tlsCert, PEM_BYTES_MAX),
    key: readNamed(tlsKey, PEM_BYTES_MAX),
    clientCa: clientCa === null ? null : readNamed(clientCa, PEM_BYTES_MAX),
  };
}
