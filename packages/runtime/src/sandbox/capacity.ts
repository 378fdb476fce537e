import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fields, parseFormat, parseStrictJson } from "@sovereign/core";
import { z } from "zod";
import { readOwnFile } from "../system/index.ts";
import { DEATH_COSTS, type DeathCosts } from "./holdings.ts";

export const CAPACITY_FILE = "capacity.json";

const BYTES_MAX = 4096;

/**
 * Until a machine has been measured: what two cores were seen to reap well within the bound, 128 with
 * control groups that hold the paths' share down, and 32 beside other work without.
 */
const PATHS_PER_CORE = { weighed: 64, unweighed: 16 };

/** What a stop may take; one that was not verified took longer. */
export const BOUND_MS = 500;

/** Because a moment may be worse than those that were measured. */
export const BUDGET_MS = BOUND_MS / 2;

export const MOST = 512;

const capacityFile = z.strictObject({
  boot_id: z.string().max(64),
  paths: fields.count.min(1).max(MOST),
  path_ms: z.number().min(0),
  /** How much longer than assumed it takes to free what paths own. */
  slower: z.number().min(1).max(100).default(1),
});

/** How many paths this machine reaps within the bound, and what each takes. */
export interface Capacity {
  readonly paths: number;
  readonly path_ms: number;
  readonly slower: number;
}

export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** What deaths take here: what is assumed, or more where this machine was seen to be slower. */
export function deathCosts(slower: number): DeathCosts {
  const { kernelMsPerMebibyte, memoryMsPerMebibyte, msPerFileLock, ...rest } = DEATH_COSTS;
  return {
    ...rest,
    kernelMsPerMebibyte: kernelMsPerMebibyte * slower,
    memoryMsPerMebibyte: memoryMsPerMebibyte * slower,
    msPerFileLock: msPerFileLock * slower,
  };
}

/** What was measured since this machine started; null where nobody measured. */
export function measuredCapacity(scramFolder: string): Capacity | null {
  try {
    const bytes = readOwnFile(join(scramFolder, CAPACITY_FILE), BYTES_MAX);
    const value = parseStrictJson(bytes ?? new Uint8Array());
    const { boot_id, ...known } = parseFormat(capacityFile, value, CAPACITY_FILE);
    return boot_id === bootId() ? known : null;
  } catch {
    // Not readable is not measured.
    return null;
  }
}

/**
 * What was measured since this machine started, else a cautious guess.
 * @param weighed whether control groups hold the paths' share of the processors down
 */
export function knownCapacity(scramFolder: string, weighed: boolean): Capacity {
  const paths = PATHS_PER_CORE[weighed ? "weighed" : "unweighed"] * availableParallelism();
  return measuredCapacity(scramFolder) ?? { paths, path_ms: rounded(BUDGET_MS / paths), slower: 1 };
}

export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
