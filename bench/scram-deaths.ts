import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { connectScram } from "../packages/runtime/src/home/index.ts";
import { MARKER_VARIABLE, ScramLatch } from "../packages/runtime/src/scram/index.ts";
import { Hogs } from "./hogs.ts";
import { type BenchRow, quantiles, round } from "./report.ts";

/** The control reads the same. */
const BACKEND = process.env["SCRAM_BACKEND"] ?? "bubblewrap";
const CONTROL = resolve("bench/scram-control.ts");
const ROLES = ["sentinel", "engine", "dead-man", "control"] as const;
type Role = (typeof ROLES)[number];
/** Each alone, and each pair. */
const VICTIMS: readonly (readonly Role[])[] = [
  ...ROLES.map((role) => [role]),
  ...ROLES.flatMap((one, at) => ROLES.slice(at + 1).map((other) => [one, other])),
];
/** Stopped, not killed: each alone, and the sentinel with the one that watches it. */
const WEDGED: readonly (readonly Role[])[] = [
  ["sentinel"],
  ["engine"],
  ["dead-man", "sentinel"],
  ["sentinel", "engine"],
];
/** Nothing of it should die where only this is killed: the paths go on, under their control. */
const HARMLESS = "dead-man";
const WAIT_MS = 5000;
/** So often is what is left of a trial asked to end, before it is killed. */
const POLITE = 4;
/** Of the gate's script, which waits for the word that lets a payload run. */
const GATE_WORDS = "read -r word";

interface Held extends Readonly<Record<Role, number>> {
  readonly home: string;
  /** In the words of the payloads. */
  readonly mark: string;
  /** In the environment of all that was started to become one. */
  readonly marker: string;
}

/** What was left of one death. */
interface Death {
  readonly tookMs: number | null;
  /** Processes of paths that were there to be killed. */
  readonly before: number;
  /** Payloads. */
  readonly survivors: number;
  /** What was started to become a payload, or to hold one, and is none itself. */
  readonly launches: number;
  readonly state: string;
}

/**
 * kill -9 of each of our own processes, and of each pair, at random instants while hostile paths
 * start and run beside busy processes.
 * @param kills how many in all
 */
export async function deaths(kills: number, hogs: number): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const victims of VICTIMS) {
    const found: Death[] = [];
    const trials = Math.ceil(kills / VICTIMS.length);
    while (found.length < trials) found.push(await die(victims, hogs));
    rows.push(rowOf(victims.join(" and "), hogs, found));
  }
  return rows;
}

/**
 * SIGSTOP of the sentinel, the engine, or both watchers: they live and do not answer. The time is from
 * the signal to the death of the last process of a path, as an independent sweep sees it.
 */
export async function wedges(trials: number, hogs: number): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const victims of WEDGED) {
    const found: Death[] = [];
    while (found.length < trials) found.push(await die(victims, hogs, "SIGSTOP"));
    rows.push(rowOf(victims.join(" and "), hogs, found, "SIGSTOP"));
  }
  return rows;
}

function rowOf(
  victims: string,
  hogs: number,
  found: readonly Death[],
  signal: NodeJS.Signals = "SIGKILL",
): BenchRow {
  const states: Record<string, number> = {};
  for (const { state } of found) states[state] = (states[state] ?? 0) + 1;
  const took = found.flatMap(({ tookMs }) => tookMs ?? []);
  const { p50, p99, max } = quantiles(took);
  return {
    name: `${signal} of ${victims}, 6 paths (${BACKEND}), ${hogs} CPU hogs`,
    values: {
      ...(took.length === 0 ? {} : { p50: round(p50), p99: round(p99), max: round(max) }),
      "processes before, p50": quantiles(found.map(({ before }) => before)).p50,
      survivors: found.reduce((sum, { survivors }) => sum + survivors, 0),
      "other processes of paths": found.reduce((sum, { launches }) => sum + launches, 0),
      trials: found.length,
      "next start": JSON.stringify(states),
    },
  };
}

/** @param hogs busy processes, beside the starts of paths and the death: the rest is not measured */
async function die(
  victims: readonly Role[],
  hogs: number,
  signal: NodeJS.Signals = "SIGKILL",
): Promise<Death> {
  const control = spawn(process.execPath, [CONTROL], { stdio: ["pipe", "pipe", "ignore"] });
  const closed = once(control, "close");
  const [line] = (await once(createInterface(control.stdout), "line")) as [string];
  const told = JSON.parse(line) as Omit<Held, "control" | "marker">;
  // Its program and that one's folder, then the name of the installation.
  const name = read(told.engine, "cmdline").split("\0").at(-4) ?? "";
  const held = { ...told, marker: `${MARKER_VARIABLE}=${name}/`, control: control.pid ?? 0 };
  const busy = new Hogs(hogs);
  await sleep(randomInt(1500));
  const before = pathsOf(held).length;
  const lived = left(held).survivors > 0;
  const start = performance.now();
  for (const victim of victims) process.kill(held[victim], signal);
  const harmless = victims.join() === HARMLESS;
  if (!harmless) {
    while (pathsOf(held).length > 0 && performance.now() - start < WAIT_MS) await sleep(2);
  }
  const tookMs = harmless ? null : performance.now() - start;
  busy.end();
  // What is still being started would show itself now.
  await sleep(100);
  const { survivors, launches } = harmless ? { survivors: 0, launches: 0 } : left(held);
  if (signal === "SIGSTOP") await endStopped(victims.map((victim) => held[victim]));
  const state = `${await nextStart(held.home)}${lived ? "" : ", no payload ran before"}`;
  control.stdin.on("error", () => undefined).end();
  await closed;
  await clear(held);
  return { tookMs, before, survivors, launches, state };
}

/** Who was stopped and not killed by another would hold its place for ever. */
async function endStopped(victims: readonly number[]): Promise<void> {
  await sleep(500);
  for (const victim of victims) {
    try {
      process.kill(victim, "SIGKILL");
    } catch {
      // Killed already.
    }
  }
}

/** What the next one to start finds: by the latch, and by the sentinel that it meets or starts. */
async function nextStart(home: string): Promise<string> {
  const link = await connectScram(home, { PATH: process.env["PATH"] });
  const { state } = (await link.request({ t: "status" })) as { state: string };
  link.close();
  const { armed } = new ScramLatch(join(home, "scram")).preflight();
  const agreed = armed === (state === "ARMED");
  if (!agreed) return `CONFUSED: ${state}, latch ${armed ? "absent" : "there"}`;
  return armed ? "clean" : "tripped";
}

/** The sentinel of a rig whose control died is left to us. */
async function clear({ home }: Held): Promise<void> {
  const own = (): number[] => pids().filter((pid) => read(pid, "cmdline").includes(home));
  // What is being started may not hear the first word yet, and what is stopped hears none.
  for (let asked = 0; own().length > 0; asked++) {
    const signal = asked < POLITE ? "SIGTERM" : "SIGKILL";
    for (const pid of own()) {
      try {
        process.kill(pid, signal);
      } catch {
        // Gone already.
      }
    }
    for (let waited = 0; waited < 500 && own().length > 0; waited += 20) await sleep(20);
  }
  rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
}

/** By their words: a launch carries the gate's, what has passed the gate has its own alone. */
function left(held: Held): { survivors: number; launches: number } {
  const words = pathsOf(held).map((pid) => read(pid, "cmdline"));
  const own = words.filter((all) => all.includes(held.mark) && !all.includes(GATE_WORDS));
  return { survivors: own.length, launches: words.length - own.length };
}

function pathsOf({ mark, marker }: Held): number[] {
  return pids().filter(
    (pid) => read(pid, "cmdline").includes(mark) || read(pid, "environ").includes(marker),
  );
}

function pids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Empty for one that is dead. */
function read(pid: number, file: "cmdline" | "environ"): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
