import { readlinkSync } from "node:fs";
import { isSovereignError } from "@sovereign/core";
import { bubblewrapInstalled, createSandbox } from "./sandbox.ts";
import type { SandboxLevel, SandboxLimits, SandboxResult } from "./types.ts";

export interface SandboxCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface SandboxReport {
  /** The level really in force; null when nothing can run. */
  readonly level: SandboxLevel | null;
  readonly checks: readonly SandboxCheck[];
}

const LIMITS: SandboxLimits = {
  wallMs: 10_000,
  cpuSeconds: 5,
  memoryBytes: 256 * 1024 * 1024,
  processes: 8,
  outputBytes: 64 * 1024,
  fileBytes: 1024 * 1024,
};

const NAMESPACES = ["user", "pid", "mnt", "ipc", "uts", "net"];

/** Try the sandbox with real commands, and say what really holds. */
export async function probeSandbox(): Promise<SandboxReport> {
  const installed = bubblewrapInstalled();
  const checks: SandboxCheck[] = [
    {
      name: "bubblewrap",
      ok: installed,
      detail: installed ? "installed" : "missing: sudo apt-get install bubblewrap",
    },
  ];
  if (!installed) return { level: null, checks };
  try {
    const result = await trial(
      `for n in ${NAMESPACES.join(" ")}; do readlink /proc/self/ns/$n; done; touch /usr/x 2>/dev/null && echo writable; env | wc -l`,
    );
    checks.push(...namespaceChecks(result));
    checks.push(processCheck(await trial(FORKS)));
    const group = result.level === "G3";
    checks.push({
      name: "control group kill",
      ok: group,
      detail: group
        ? "one write kills all of a path"
        : "no writable cgroup v2: the kernel kills through the pid namespace instead",
    });
    const held = checks.every((check) => check.ok || check.name === "control group kill");
    return { level: held ? result.level : null, checks };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    checks.push({ name: "start", ok: false, detail: error.message });
    return { level: null, checks };
  }
}

const FORKS = "i=0; while [ $i -lt 30 ]; do sleep 1 & i=$((i+1)); done; jobs -p | wc -l; wait";

function trial(script: string): Promise<SandboxResult> {
  return createSandbox().run(
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

function namespaceChecks(result: SandboxResult): SandboxCheck[] {
  const lines = Buffer.from(result.stdout).toString("utf8").trim().split("\n");
  const checks = NAMESPACES.map((name, index) => {
    const inside = lines[index] ?? "";
    const own = inside.startsWith(`${name}:[`) && inside !== readlinkSync(`/proc/self/ns/${name}`);
    return { name: `own ${name} namespace`, ok: own, detail: own ? inside : `found ${inside}` };
  });
  const readOnly = !lines.includes("writable");
  const detail = readOnly ? "a write to /usr is refused" : "a write to /usr succeeded";
  return [...checks, { name: "read-only system", ok: readOnly, detail }];
}

/** The shell gives up at the first fork that is refused: so a limit that holds ends it early. */
function processCheck(result: SandboxResult): SandboxCheck {
  const text = Buffer.from(result.stdout).toString("utf8").trim();
  const refused = /fork|Resource/i.test(Buffer.from(result.stderr).toString("utf8"));
  const held = refused || result.ended !== "exited" || Number(text) < 30;
  const detail = held ? "the ninth process is refused" : `${text} processes ran with a limit of 8`;
  return { name: "process limit", ok: held, detail };
}
