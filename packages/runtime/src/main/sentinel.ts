/** The sentinel's program: `node sentinel.ts HOME`. Started by us alone, one for a data folder. */
import { readdirSync, writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type Signer, SovereignError } from "@sovereign/core";
import { Keystore } from "../authority/index.ts";
import { systemClock } from "../system/index.ts";
import { leadsSession, lockFolder } from "../process/index.ts";
import {
  openSwitchFolder,
  loadSwitchConfig,
  isShared,
  programCommand,
  Settings,
} from "../home/index.ts";
import { groupNameOf, ScramLatch, type SentinelKeys } from "../scram/index.ts";
import { Sentinel } from "../sentinel/index.ts";

const LOCK_MS = 5000;
const LOCK_RETRY_MS = 20;
const home = process.argv[2] ?? "";
const settings = Settings.of(home, process.env);
const folder = openSwitchFolder(home);
// Whatever stands in the place of its settings, there is somebody who stops.
const config = loadSwitchConfig(home, (why) => {
  process.stderr.write(`sentinel: ${why} The settings of the law hold; no work begins.\n`);
});
process.umask(0o077);
// Makes the folder where it is missing.
new ScramLatch(folder.scram);
process.chdir(folder.scram);
const name = groupNameOf(folder.scram);
if (!(await takeLock())) process.exit(0);

preferUs();

const sentinel = new Sentinel({
  folder: folder.scram,
  config,
  clock: systemClock,
  engineCommand: [
    ...programCommand("engine"),
    folder.scram,
    name,
    config.minimum_level,
    config.require_memory_controller ? "counted" : "any",
    String(process.pid),
  ],
  searchPath: settings.searchPath,
  signer: openSigner,
  shared: isShared(home),
});
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.on(signal, () => void sentinel.shutdown());
}
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    const why = error instanceof Error ? (error.stack ?? error.message) : "unknown";
    process.stderr.write(`sentinel: ${why}\n`);
    // When in doubt, stop: the paths die, the switch stays tripped, and a new one takes over.
    void sentinel.fault(`the sentinel failed: ${why.slice(0, 200)}`).finally(() => {
      process.exit(1);
    });
  });
}
await sentinel.run();
process.exit(0);

/**
 * Whoever must stop others should not wait for them: among the processes of our session, and our
 * session among the others where the kernel shares the processors between sessions (sched(7)). One
 * that was started by hand has its starter's session, whose other work must not come before all
 * else. Only root may; elsewhere it stays as it is.
 */
function preferUs(): void {
  const first = constants.priority.PRIORITY_HIGHEST;
  try {
    // Each thread has a priority of its own, and what we read aside is read by others than the first.
    for (const thread of readdirSync("/proc/self/task")) setPriority(Number(thread), first);
    if (leadsSession()) writeFileSync("/proc/self/autogroup", String(first));
  } catch {
    // An ordinary user's sentinel has the ordinary priority; not every kernel groups by session.
  }
}

/**
 * The folder's lock, which makes us its only sentinel; one before us gets a moment to end. The kernel
 * takes it back when we die.
 */
async function takeLock(): Promise<boolean> {
  for (let waited = 0; waited < LOCK_MS; waited += LOCK_RETRY_MS) {
    const lock = lockFolder(folder.scram, settings.searchPath);
    if (lock.kind === "taken") return true;
    if (lock.kind === "failed") {
      const text = `The lock of ${folder.scram} cannot be taken: ${lock.why}.`;
      throw new SovereignError("ERR_SCRAM_SENTINEL_START", text, { folder: folder.scram });
    }
    await sleep(LOCK_RETRY_MS);
  }
  return false;
}

/** The power to sign receipts, opened when it is first needed and kept. */
async function openSigner(keys: SentinelKeys | null): Promise<Signer | null> {
  if (keys === null) return null;
  try {
    const { passphrase } = settings;
    // A data folder that was deleted is not begun anew by its last sentinel.
    const keystore = await Keystore.open({ folder: folder.keys, passphrase, make: false });
    const at = systemClock.now().toISOString();
    const window = keys.keys.valid("sentinel", null, keys.keys.count, at).at(-1);
    return window === undefined ? null : await keystore.signer(window.record.key_id);
  } catch {
    // A stop needs no key; its receipt is then unsigned, and says so.
    return null;
  }
}
