import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { canonicalize } from "@sovereign/core";
import { replaceOwnFile } from "../../system/index.ts";
import { startTrustedService } from "../../process/index.ts";
import {
  type SandboxDemands,
  CAPACITY_FILE,
  BOUND_MS,
  BUDGET_MS,
  MOST,
  type Capacity,
  rounded,
  bootId,
} from "../../sandbox/index.ts";
import { DRILL, DrillRig, OWNING_PATHS } from "./drill.ts";
import { OWNED_KINDS } from "./owning-payloads.ts";

const TRIAL_PATHS = 32;
/** Processes that compute without end while we measure: a machine is seldom idle when it must stop. */
const BUSY_PER_CORE = 4;
const SETTLE_MS = 100;
/** Of each back end: the slower one counts. */
const TRIALS = 2;
/** How long a trial waits for its paths to run, on a machine that may be busy. */
const READY_MS = 30_000;
/**
 * How much longer than the costs say it may take to free what paths own beside other work: the budget
 * of all paths is as much smaller than the bound.
 */
const LONGER_BESIDE_LOAD = 1.4;

/**
 * Kill some hostile paths beside other work, in throw-away installations, and keep what was learned
 * until reboot.
 */
export async function measureCapacity(
  scramFolder: string,
  environment: Readonly<Record<string, string | undefined>>,
  backends: readonly SandboxDemands["backend"][],
  tell: (text: string) => void,
): Promise<Capacity> {
  const took: number[] = [];
  const slower: number[] = [];
  for (const backend of backends) {
    for (let trial = 1; trial <= TRIALS; trial++) {
      tell(`${backend}: stopping ${TRIAL_PATHS} paths beside other work, ${trial} of ${TRIALS}`);
      const hold = (rig: DrillRig): Promise<void> =>
        rig.hold(TRIAL_PATHS, DRILL, { backend }, READY_MS);
      took.push(await stopBesideLoad(environment, hold));
    }
    for (const what of OWNED_KINDS) {
      tell(`${backend}: stopping ${OWNING_PATHS} paths that own as many ${what} as they may`);
      let assumedMs = Number.POSITIVE_INFINITY;
      const hold = async (rig: DrillRig): Promise<void> => {
        await rig.holdOwning(what, OWNING_PATHS, { backend }, READY_MS);
        assumedMs = rig.assumedMs() ?? assumedMs;
      };
      const tookMs = await stopBesideLoad(environment, hold);
      slower.push(tookMs / (assumedMs * LONGER_BESIDE_LOAD));
    }
  }
  const pathMs = largest(took) / TRIAL_PATHS;
  const paths = Math.max(1, Math.min(MOST, Math.floor(BUDGET_MS / pathMs)));
  const capacity = {
    paths,
    path_ms: rounded(pathMs),
    // The kind that is slowest here counts for all: a hostile path takes that one.
    slower: rounded(Math.min(100, Math.max(1, largest(slower)))),
  };
  const text = canonicalize({ boot_id: bootId(), ...capacity });
  replaceOwnFile(join(scramFolder, CAPACITY_FILE), text);
  return capacity;
}

function largest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), 0);
}

/** Milliseconds that a stop of what `hold` starts takes; the bound where that was not verified. */
async function stopBesideLoad(
  environment: Readonly<Record<string, string | undefined>>,
  hold: (rig: DrillRig) => Promise<void>,
): Promise<number> {
  const rig = await DrillRig.open(environment);
  try {
    await hold(rig);
    const { body } = await besideLoad(environment, () => rig.stop());
    return body.t_reaped_ms ?? BOUND_MS;
  } finally {
    await rig.close();
  }
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
