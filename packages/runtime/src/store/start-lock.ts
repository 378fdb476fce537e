import { closeSync, linkSync, unlinkSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { SovereignError } from "@sovereign/core";
import { startTimeOf } from "../process/index.ts";
import { openOwnFile, putAside, readOwnFile, removeAt } from "../system/index.ts";

const WAIT_MS = 60_000;
const POLL_MS = 20;
/** A pid and a start time. */
const OWNER_BYTES_MAX = 100;

/**
 * Hold a lock file while `work` runs. The file names its owner by pid and start time, so that a
 * lock whose owner died is taken over, also when another process has the pid by now. What stands in
 * its place and is no file of ours is put aside: nobody holds it.
 *
 * @throws ERR_STORE_UNAVAILABLE when a living owner keeps it for a minute
 */
export async function withStartLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  await acquire(path);
  try {
    return await work();
  } finally {
    unlinkSync(path);
  }
}

async function acquire(path: string): Promise<void> {
  const own = `${process.pid} ${String(startTimeOf(process.pid))}\n`;
  for (let waited = 0; waited < WAIT_MS; waited += POLL_MS) {
    // A link appears with its content or not at all, so nobody reads half an owner.
    const temporary = `${path}.${process.pid}`;
    // What has its name is none of ours, be it a pipe, a link or what a process of that pid left.
    removeAt(temporary);
    const file = openOwnFile(temporary, "create");
    try {
      writeSync(file, own);
      linkSync(temporary, path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    } finally {
      closeSync(file);
      unlinkSync(temporary);
    }
    breakStale(path);
    await sleep(POLL_MS);
  }
  throw new SovereignError(
    "ERR_STORE_UNAVAILABLE",
    `Another process has been starting or stopping the database for a minute (${path}).`,
    { lock: path },
  );
}

function breakStale(path: string): void {
  let owner: string;
  try {
    const bytes = readOwnFile(path, OWNER_BYTES_MAX);
    if (bytes === null) return;
    owner = bytes.toString("latin1");
  } catch {
    // No plain file of ours, or one that is too large.
    putAside(path);
    return;
  }
  const [pid, started] = owner.trim().split(" ");
  if (startTimeOf(Number(pid)) === started) return;
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
