import { existsSync, readlinkSync } from "node:fs";
import { isSovereignError } from "@sovereign/core";
import { ControlGroups } from "../process/index.ts";
import { type ContainerProgram, findContainerPrograms } from "./container-programs.ts";
import { createSandbox, launcherOf } from "./sandbox.ts";
import { SYSTEM_PATH } from "./launcher.ts";
import type { SandboxDemands, SandboxLevel, SandboxLimits, SandboxResult } from "./types.ts";

export interface SandboxCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What its absence costs, and how to have it; null where nothing is missing. */
  readonly advice: string | null;
}

/** One back end, tried. */
export interface BackendReport {
  /** The level really in force; null when nothing can run in it. */
  readonly level: SandboxLevel | null;
  readonly checks: readonly SandboxCheck[];
}

/** The default back end's, the machine's, and the one that a policy may ask for instead. */
export interface SandboxReport extends BackendReport {
  readonly container: BackendReport;
  /** The programs for containers that are here, also those that are not used. */
  readonly programs: readonly ContainerProgram[];
}

type Backend = SandboxDemands["backend"];

const LIMITS: SandboxLimits = {
  // A machine that is busy is slow: nothing is missing for that.
  wallMs: 120_000,
  cpuSeconds: 30,
  memoryBytes: 256 * 1024 * 1024,
  processes: 8,
  outputBytes: 64 * 1024,
  fileBytes: 1024 * 1024,
};

const NAMESPACES = ["user", "pid", "mnt", "ipc", "uts", "net"];

/** Try each back end with real commands, and say what really holds. */
export async function probeSandbox(): Promise<SandboxReport> {
  const [{ level, checks, user }, { user: contained, ...container }] = await Promise.all([
    tryBackend("bubblewrap"),
    tryBackend("container"),
  ]);
  if (container.level !== null) container.checks.push(userCheck(contained));
  return {
    level,
    checks: level === null ? checks : [...checks, ...kernelChecks(level, user)],
    container,
    programs: await findContainerPrograms(),
  };
}

/**
 * Whether this machine gives the sandbox that a policy asks for which says nothing of it.
 * @param minimum of the settings, which may ask for more
 */
export async function holdsSandbox(minimum: SandboxLevel, isCounted: boolean): Promise<boolean> {
  const { level } = await tryBackend("bubblewrap");
  if (level === null || level === "G0" || (minimum === "G3" && level !== "G3")) return false;
  return !isCounted || unboundedMemory() === null;
}

interface Trial {
  readonly level: SandboxLevel | null;
  readonly checks: SandboxCheck[];
  /** Who commands are outside; 0 when in doubt. */
  readonly user: number;
}

async function tryBackend(backend: Backend): Promise<Trial> {
  const launcher = launcherOf(backend);
  const { program } = launcher;
  const absent = launcher.missing(SYSTEM_PATH);
  const name = backend === program ? program : `${backend} (${program})`;
  const checks = [
    check(name, absent === null, absent === null ? "installed" : "missing", absent ?? ""),
  ];
  if (absent !== null) return { level: null, checks, user: 0 };
  try {
    const result = await trial(backend, SCRIPT);
    for (const one of confinementChecks(result)) checks.push(one);
    checks.push(processCheck(await trial(backend, FORKS)));
    const held = checks.every(({ ok }) => ok);
    // From inside, nested namespaces hide who an ordinary user is: it is ourselves.
    const own = process.getuid?.() ?? 0;
    const user = own > 0 ? own : outsideUser(Buffer.from(result.stdout).toString("utf8"));
    return { level: held ? result.level : null, checks, user };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    checks.push(check("start", false, error.message, ADVICE.start));
    return { level: null, checks, user: 0 };
  }
}

const ADVICE = {
  start:
    "Nothing runs in it. In a container allow user namespaces; on Ubuntu 24.04: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
  confinement: "Nothing runs: the sandbox does not hold. Look for another bwrap or crun in PATH.",
  group:
    "Costs: paths are killed one by one instead of by one write, and their memory is limited for each process, not together. Have root delegate a control group: mkdir and chown a folder in the cgroup2 mount, and start Sovereign in it.",
  memory:
    "Costs: memory is limited for each process, not for a path together, and what a hostile path owns of the kernel's memory is not bounded: it may take longer than 500 ms to die. To refuse commands then, set scram.require_memory_controller: true in config.yaml. Mount the memory controller, or have it delegated.",
  share:
    "Costs: busy paths slow down what is beside them, and fewer are let in at once. Mount the processor controller, or have it delegated.",
  user: "Costs: a process that escapes from a sandbox is root here. Start Sovereign as an ordinary user, or as root of the machine itself.",
  watchdog:
    "Costs: a hung sentinel is noticed by its controls alone. Set scram.hardware_watchdog in config.yaml where there is a /dev/watchdog.",
} as const;

const SCRIPT = `for n in ${NAMESPACES.join(" ")}; do readlink /proc/self/ns/$n; done
touch /usr/x 2>/dev/null && echo writable
grep -E '^(Seccomp|NoNewPrivs|Uid):' /proc/self/status; sed 's/^/map /' /proc/self/uid_map; chrt -p $$ 2>/dev/null`;

function check(name: string, ok: boolean, detail: string, advice: string): SandboxCheck {
  return { name, ok, detail, advice: ok ? null : advice };
}

function userCheck(user: number): SandboxCheck {
  const found =
    user > 0
      ? `commands run as user ${user}`
      : "commands run as the root user that Sovereign runs as";
  return check("not root outside", user > 0, found, ADVICE.user);
}

/**
 * One line where nothing bounds what a path owns of the kernel's memory, such as its mappings.
 * @returns null where a memory controller does
 */
export function unboundedMemory(): string | null {
  if (ControlGroups.root("standalone").limitsMemory) return null;
  return "no memory controller that we may write: what a path owns of the kernel's memory, such as its mappings, is not bounded, and a hostile path may take longer than 500 ms to die; see sovereign doctor";
}

/** What the machine gives beyond what must be there. */
function kernelChecks(level: SandboxLevel, user: number): SandboxCheck[] {
  const group = level === "G3";
  const groups = ControlGroups.root("standalone");
  const memory = groups.limitsMemory;
  const watchdog = existsSync("/dev/watchdog");
  return [
    userCheck(user),
    check(
      "control group kill",
      group,
      group ? "one write kills all of a path" : "no cgroup v2 that we may write",
      ADVICE.group,
    ),
    check(
      "processor share of paths",
      groups.weighs,
      groups.weighs
        ? "held down while they live, raised when they are killed"
        : "like all other work: no processor controller that we may write",
      ADVICE.share,
    ),
    check(
      "memory of a path together",
      memory,
      memory
        ? "limited by the kernel, and its own counted"
        : "no memory controller that we may write",
      ADVICE.memory,
    ),
    check(
      "hardware watchdog",
      watchdog,
      watchdog ? "/dev/watchdog is there" : "there is none",
      ADVICE.watchdog,
    ),
  ];
}

/** Who the payload is outside its namespace, from its status and its map; 0 when in doubt. */
function outsideUser(text: string): number {
  const inside = Number(/^Uid:\s+(\d+)/m.exec(text)?.[1] ?? Number.NaN);
  for (const [, from, to, count] of text.matchAll(/^map +(\d+) +(\d+) +(\d+)$/gm)) {
    const offset = inside - Number(from);
    if (offset >= 0 && offset < Number(count)) return Number(to) + offset;
  }
  return 0;
}

const FORKS = "i=0; while [ $i -lt 30 ]; do sleep 0.3 & i=$((i+1)); done; jobs -p | wc -l; wait";

function trial(backend: Backend, script: string): Promise<SandboxResult> {
  return createSandbox({ backend }).run(
    {
      argv: ["/bin/sh", "-c", script],
      cwd: "/tmp",
      readOnly: [],
      writable: [],
      env: {},
      limits: LIMITS,
    },
    new AbortController().signal,
  );
}

function confinementChecks(result: SandboxResult): SandboxCheck[] {
  const text = Buffer.from(result.stdout).toString("utf8");
  const lines = text.trim().split("\n");
  const checks = NAMESPACES.map((name, index) => {
    const inside = lines[index] ?? "";
    const own = inside.startsWith(`${name}:[`) && inside !== readlinkSync(`/proc/self/ns/${name}`);
    const found = own ? inside : `found ${inside}`;
    return check(`own ${name} namespace`, own, found, ADVICE.confinement);
  });
  const readOnly = !lines.includes("writable");
  const write = readOnly ? "a write to /usr is refused" : "a write to /usr succeeded";
  const filter = /^Seccomp:\s+2$/m.test(text) && /^NoNewPrivs:\s+1$/m.test(text);
  return [
    ...checks,
    check("read-only system", readOnly, write, ADVICE.confinement),
    check("system call filter", filter, filter ? "in force" : "not in force", ADVICE.confinement),
    classCheck(text.includes("SCHED_IDLE")),
  ];
}

/** The lowest class is for where a group raises what must die, and for there alone. */
function classCheck(lowest: boolean): SandboxCheck {
  const wanted = ControlGroups.root("standalone").weighs;
  const found = lowest ? "the lowest" : "that of other work";
  return check("scheduling class", lowest === wanted, found, ADVICE.confinement);
}

/** The shell gives up at the first fork that is refused: so a limit that holds ends it early. */
function processCheck(result: SandboxResult): SandboxCheck {
  const text = Buffer.from(result.stdout).toString("utf8").trim();
  const refused = /fork|Resource/i.test(Buffer.from(result.stderr).toString("utf8"));
  const held = refused || result.ended !== "exited" || Number(text) < 30;
  const detail = held ? "the ninth process is refused" : `${text} processes ran with a limit of 8`;
  return check("process limit", held, detail, ADVICE.confinement);
}
