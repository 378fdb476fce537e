import type { ChildProcess } from "node:child_process";
import { closeSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isSovereignError, parseStrictJson, SovereignError, utf8Encode } from "@sovereign/core";
import { openSwitchFolder, programCommand, type Settings } from "../../home/index.ts";
import { startTrustedService } from "../../process/index.ts";
import { makeOwnFolder, newId, openOwnLog, systemEntropy } from "../../system/index.ts";

/** A command line that goes on when its starter is gone. */
export interface BackgroundReport {
  readonly run: string;
  /** Where it writes, in JSON lines. */
  readonly log: string;
  readonly pid: number | null;
}

const POLL_MS = 50;
/** For a run to be admitted: the first use of an installation makes a database. */
const ADMITTED_MS = 120_000;

/**
 * Carry out a command line of ours in a process of its own, and wait until its run is in the ledger.
 *
 * @param words of the command line, without the one that asks for this
 * @throws the error with which it ended, where no run of it began
 */
export async function startInBackground(
  { home, environment }: Settings,
  words: readonly string[],
): Promise<BackgroundReport> {
  const folder = join(openSwitchFolder(home).root, "background");
  makeOwnFolder(folder);
  const log = join(folder, `${newId("", systemEntropy)}.log`);
  const child = start(log, words, environment);
  const ended = new Promise<true>((resolve) => {
    child.on("close", () => {
      resolve(true);
    });
    child.on("error", () => {
      resolve(true);
    });
  });
  for (let waited = 0; waited < ADMITTED_MS; waited += POLL_MS) {
    const isOver = await Promise.race([ended, sleep(POLL_MS, false)]);
    const lines = linesOf(log);
    const started = lines.find(({ event }) => event === "exec.started")?.["run"];
    if (typeof started === "string") return { run: started, log, pid: child.pid ?? null };
    if (isOver) throw failureOf(lines, log);
  }
  const text = `No run began within ${ADMITTED_MS / 1000} s. What it says: ${log}`;
  throw new SovereignError("ERR_AGENT_FAILED", text);
}

function start(
  log: string,
  words: readonly string[],
  environment: Settings["environment"],
): ChildProcess {
  const descriptor = openOwnLog(log);
  const [command, ...args] = [...programCommand("cli"), ...words];
  const env = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value]],
  );
  try {
    return startTrustedService("background", command, [...args, "--json"], {
      env: Object.fromEntries(env) as Record<string, string>,
      stdio: ["ignore", descriptor, descriptor],
      detached: true,
      // Its words name folders from here.
      cwd: process.cwd(),
    });
  } finally {
    closeSync(descriptor);
  }
}

type Line = Readonly<Record<string, unknown>>;

/** Whole lines of JSON; others are words for people. */
function linesOf(log: string): Line[] {
  return readFileSync(log, "utf8")
    .split("\n")
    .slice(0, -1)
    .flatMap((line) => {
      try {
        const value = parseStrictJson(utf8Encode(line));
        return typeof value === "object" && value !== null && !Array.isArray(value) ? [value] : [];
      } catch (error) {
        if (isSovereignError(error)) return [];
        throw error;
      }
    });
}

/** What it said before it ended: its error has the code and the next step. */
function failureOf(lines: readonly Line[], log: string): SovereignError {
  const error = lines.findLast((one) => "error" in one)?.["error"] as Line | undefined;
  const message = typeof error?.["message"] === "string" ? error["message"] : "it said nothing";
  const code = error?.["code"] === "ERR_USAGE" ? "ERR_USAGE" : "ERR_AGENT_FAILED";
  return new SovereignError(code, `No run began: ${message} What it says: ${log}`);
}
