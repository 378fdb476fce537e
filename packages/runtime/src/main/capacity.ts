import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { canonicalize, fields, parseFormat, parseStrictJson } from "@sovereign/core";
import { z } from "zod";
import { readOwnFile, replaceOwnFile } from "../files/index.ts";
import { startTrustedService } from "../process/index.ts";
import type { SandboxDemands } from "../sandbox/index.ts";
import { DRILL, DrillRig } from "./drill.ts";

const CAPACITY_FILE = "capacity.json";
const BYTES_MAX = 4096;
/**
 * Until a machine has been measured: what two cores were seen to reap well within the bound, 128 with
 * control groups that hold the paths' share down, and 32 beside other work without.
 */
const PATHS_PER_CORE = { weighed: 64, unweighed: 16 };
const TRIAL_PATHS = 32;
/** Processes that compute without end while we measure: a machine is seldom idle when it must stop. */
const BUSY_PER_CORE = 4;
const SETTLE_MS = 100;
/** Of each back end: the slower one counts. */
const TRIALS = 2;
/** What a stop may take; one that was not verified took longer. */
const BOUND_MS = 500;
/** Because a moment may be worse than those that were measured. */
const BUDGET_MS = BOUND_MS / 2;
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

/**
 * Kill some hostile paths beside other work, in throw-away installations, and keep what was learned
 * until reboot.
 */
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
      const { body } = await besideLoad(environment, () => rig.stop());
      took.push(body.t_reaped_ms ?? BOUND_MS);
    } finally {
      await rig.close();
    }
  }
  const pathMs = Math.max(...took) / TRIAL_PATHS;
  const paths = Math.max(1, Math.min(MOST, Math.floor(BUDGET_MS / pathMs)));
  const capacity = { paths, path_ms: Math.round(pathMs * 1000) / 1000 };
  const text = canonicalize({ boot_id: bootId(), ...capacity });
  replaceOwnFile(join(scramFolder, CAPACITY_FILE), text);
  return capacity;
}

/**
 * What was measured since this machine started, else a cautious guess.
 * @param weighed whether control groups hold the paths' share of the processors down
 */
export function knownCapacity(scramFolder: string, weighed: boolean): number {
  try {
    const bytes = readOwnFile(join(scramFolder, CAPACITY_FILE), BYTES_MAX);
    const value = parseStrictJson(bytes ?? new Uint8Array());
    const known = parseFormat(capacityFile, value, CAPACITY_FILE);
    if (known.boot_id === bootId()) return known.paths;
  } catch {
    // Not measured, or not readable: it is a guess all the same.
  }
  return PATHS_PER_CORE[weighed ? "weighed" : "unweighed"] * availableParallelism();
}

/** Keep every processor busy while `work` is done. What is started ends with us, however we end. */
async function besideLoad<T>(
  environment: Readonly<Record<string, string | undefined>>,
  work: () => Promise<T>,
): Promise<T> {
  const args = ["--pdeathsig", "KILL", "/bin/sh", "-c", "while :; do :; done"];
  const env = { PATH: environment["PATH"] ?? "/usr/bin:/bin" };
  const load = Array.from({ length: BUSY_PER_CORE * availableParallelism() }, () =>
    startTrustedService("load", "setpriv", args, { env, stdio: "ignore", detached: true }),
  );
  try {
    // Long enough for the scheduler to have taken them in.
    await sleep(SETTLE_MS);
    return await work();
  } finally {
    for (const one of load) one.kill("SIGKILL");
  }
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
