import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { canonicalize, fields, parseFormat, parseStrictJson } from "@sovereign/core";
import { z } from "zod";
import type { SandboxDemands } from "../sandbox/index.ts";
import { DRILL, DrillRig } from "./drill.ts";

const CAPACITY_FILE = "capacity.json";
/** Until a machine has been measured: what two quiet cores were seen to reap well within the bound. */
const PATHS_PER_CORE = 64;
const TRIAL_PATHS = 16;
/** Of each back end: the slower one counts. */
const TRIALS = 2;
/** Half of the bound, because a moment may be worse than those that were measured. */
const BUDGET_MS = 250;
const MOST = 512;

const capacityFile = z.strictObject({
  boot_id: z.string().max(64),
  paths: fields.count.min(1).max(MOST),
  path_ms: z.number().min(0),
});

/** How many paths this machine reaps within the bound, and what each takes. */
export interface Capacity {
  readonly paths: number;
  readonly path_ms: number;
}

/** Kill some hostile paths in throw-away installations, and keep what was learned until reboot. */
export async function measureCapacity(
  scramFolder: string,
  environment: Readonly<Record<string, string | undefined>>,
  backends: readonly SandboxDemands["backend"][],
): Promise<Capacity> {
  const took: number[] = [];
  for (const backend of backends.flatMap((one) => Array<typeof one>(TRIALS).fill(one))) {
    const rig = await DrillRig.open(environment);
    try {
      await rig.hold(TRIAL_PATHS, DRILL, { backend });
      const { body } = await rig.stop();
      took.push(body.t_reaped_ms ?? BUDGET_MS);
    } finally {
      await rig.close();
    }
  }
  const pathMs = Math.max(...took) / TRIAL_PATHS;
  const paths = Math.max(1, Math.min(MOST, Math.floor(BUDGET_MS / pathMs)));
  const capacity = { paths, path_ms: Math.round(pathMs * 1000) / 1000 };
  const text = canonicalize({ boot_id: bootId(), ...capacity });
  writeFileSync(join(scramFolder, CAPACITY_FILE), text, { mode: 0o600 });
  return capacity;
}

/** What was measured since this machine started, else a cautious guess. */
export function knownCapacity(scramFolder: string): number {
  try {
    const value = parseStrictJson(readFileSync(join(scramFolder, CAPACITY_FILE)));
    const known = parseFormat(capacityFile, value, CAPACITY_FILE);
    if (known.boot_id === bootId()) return known.paths;
  } catch {
    // Not measured, or not readable: it is a guess all the same.
  }
  return PATHS_PER_CORE * availableParallelism();
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
