import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { SovereignError } from "@sovereign/core";
import { kindAt, putAside, systemClock } from "../system/index.ts";
import { ScramLatch } from "./latch.ts";
import { eventIdOf } from "./names.ts";

const OWNERS = 0o700;

/**
 * Make the kill switch's folder one that a stop and a reset can use, whatever stands in its place: a
 * link or a file is put aside. The new folder begins stopped, because nobody knows what the old one
 * held; what the ledger has of it a repair brings back.
 *
 * @param folder the data folder's `scram/`
 * @throws ERR_SCRAM_UNWRITABLE where nothing can be written
 */
export function mendSwitchFolder(folder: string): void {
  giveBack(dirname(folder));
  const kind = kindAt(folder);
  if (kind === "folder") giveBack(folder);
  if (kind === null || kind === "folder") return;
  try {
    putAside(folder);
    mkdirSync(folder, { mode: 0o700 });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    const text = `${folder} is a ${kind}, and cannot be put aside: ${why}. Nothing runs meanwhile.`;
    throw new SovereignError("ERR_SCRAM_UNWRITABLE", text, { folder }, cause);
  }
  latchEverything(new ScramLatch(folder));
}

/** A folder of the user's own from which its owner's rights were taken, as by a wrong copy. */
export function giveBack(folder: string): void {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (found?.isDirectory() !== true || found.uid !== process.geteuid?.()) return;
  if ((found.mode & OWNERS) !== OWNERS) chmodSync(folder, OWNERS);
}

/** Stop everything without a sentinel that would judge whose work an order may stop. Durable. */
export function latchEverything(latch: ScramLatch): void {
  latch.trip({
    event_id: eventIdOf(systemClock),
    scope: { kind: "all" },
    reason: "sentinel_trigger",
    tripped_at: systemClock.now().toISOString(),
  });
  latch.sync();
}
