import { type ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect } from "vitest";
import { connectScram } from "../../src/home/index.ts";
import { DrillRig } from "../../src/services/index.ts";
import type { SandboxRequest } from "../../src/sandbox/index.ts";
import type { ScramLink } from "../../src/scram/index.ts";
import { journalFaults } from "./event-schemas.ts";

export const ENVIRONMENT = { PATH: process.env["PATH"] };
const rigs: DrillRig[] = [];
export const children: ChildProcess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  const done = rigs.splice(0);
  // Whatever a test brought about, each line of the journal is of the schema that is published.
  const faults = done.flatMap(({ home }) => journalFaults(home));
  for (const rig of done) await rig.close();
  expect(faults).toEqual([]);
});

export async function rig(): Promise<DrillRig> {
  const opened = await DrillRig.open(ENVIRONMENT);
  rigs.push(opened);
  return opened;
}

/** Until the sweep finds nothing, for a second at most. */
export async function soonDead(one: DrillRig): Promise<number> {
  for (let waited = 0; waited < 1000 && one.survivors() > 0; waited += 5) await sleep(5);
  return one.survivors();
}

export interface Pids {
  readonly pid: number;
  readonly engine: number | null;
  readonly dead_man: number;
  readonly paths: number;
}

export async function pidsOf(link: ScramLink): Promise<Pids> {
  return (await link.request({ t: "status" })) as unknown as Pids;
}

export function killEngine({ engine }: Pick<Pids, "engine">, signal: NodeJS.Signals): void {
  if (engine === null) throw new Error("no engine runs");
  process.kill(engine, signal);
}

function again(one: DrillRig): Promise<ScramLink> {
  return connectScram(one.home, ENVIRONMENT);
}

export async function stateOf(one: DrillRig): Promise<string> {
  const link = await again(one);
  try {
    return ((await link.request({ t: "status" })) as { state: string }).state;
  } finally {
    link.close();
  }
}

export function trivial(script: string, writable: SandboxRequest["writable"] = []): SandboxRequest {
  return {
    argv: ["/bin/sh", "-c", script],
    cwd: "/tmp",
    readOnly: [],
    writable,
    env: {},
    limits: {
      wallMs: 10_000,
      cpuSeconds: 5,
      memoryBytes: 256 * 1024 * 1024,
      processes: 16,
      outputBytes: 10_000,
      fileBytes: 10_000,
    },
  };
}

export const OWNER = { tenant_id: "drill", run_id: `run_${"d".repeat(20)}` };
export const quiet = new AbortController().signal;
