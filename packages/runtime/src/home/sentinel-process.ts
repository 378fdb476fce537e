import type { ChildProcess } from "node:child_process";
import { closeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SovereignError } from "@sovereign/core";
import { openOwnLog, programFile, systemClock } from "../system/index.ts";
import { startTrustedService } from "../process/index.ts";
import { openSwitchFolder } from "./data-folder.ts";
import { giveBack, ScramLatch, ScramLink, ScramMember, type WorkOwner } from "../scram/index.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Sources start in half the time where what was compiled of them before is kept. */
const COMPILED = fileURLToPath(new URL("../../bin/compile-cache.js", import.meta.url));

type ProgramName = "sentinel" | "engine" | "cli" | "model-proxy" | "egress" | "gateway";

/** These must answer while others keep the processors busy, so they wait for no thread of their own. */
const ALONE = {
  sentinel: ["--single-threaded-gc"],
  engine: ["--single-threaded-gc"],
  cli: [],
  "model-proxy": [],
  egress: [],
  gateway: [],
} as const;

/** Node and one of our programs. */
export function programCommand(name: ProgramName): [string, ...string[]] {
  const program = programFile(`main/${name}`);
  const flags = ["--disable-warning=ExperimentalWarning", ...ALONE[name]];
  const node: [string, ...string[]] = [process.execPath, ...flags];
  return program.endsWith(".js") ? [...node, program] : [...node, "--require", COMPILED, program];
}

/**
 * Start the sentinel of a data folder. It ends at once when another serves there already.
 * @throws ERR_SCRAM_SENTINEL_START where it could not say what goes wrong
 */
export function startSentinel(home: string, environment: Environment): ChildProcess {
  // A folder that it may not write to would have it die, and everybody wait for it.
  giveBack(join(home, "scram"));
  const log = openLog(join(home, "scram", "sentinel.log"));
  const { PATH, SOVEREIGN_PASSPHRASE_FILE: passphrase } = environment;
  const [command, ...args] = [...programCommand("sentinel"), home];
  try {
    return startTrustedService("sentinel", command, args, {
      env: {
        PATH: PATH ?? "/usr/bin:/bin",
        ...(passphrase === undefined ? {} : { SOVEREIGN_PASSPHRASE_FILE: passphrase }),
      },
      stdio: ["ignore", log, log],
      detached: true,
    });
  } finally {
    closeSync(log);
  }
}

/**
 * Put a program of your own under the kill switch of a data folder.
 *
 * @param owner whose work it does: what stops that tenant or run stops it
 * @throws ERR_SCRAM_SENTINEL_START
 */
export async function joinScram(
  home: string,
  environment: Environment,
  owner: WorkOwner,
): Promise<ScramMember> {
  new ScramLatch(openSwitchFolder(home).scram);
  return new ScramMember(await connectScram(home, environment), owner);
}

/** A connection to the sentinel of a data folder, which is started where it does not run. */
export function connectScram(home: string, environment: Environment): Promise<ScramLink> {
  return ScramLink.connect({
    folder: join(home, "scram"),
    clock: systemClock,
    start: () => startSentinel(home, environment),
  });
}

function openLog(path: string): number {
  try {
    return openOwnLog(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unknown";
    const text = `No sentinel can be started, and nothing runs without one: ${why}. Its folder must be writable.`;
    throw new SovereignError("ERR_SCRAM_SENTINEL_START", text, { path }, cause);
  }
}
