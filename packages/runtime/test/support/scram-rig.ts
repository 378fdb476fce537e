import { type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOf, type JsonObject, type JsonValue, predicateType } from "@sovereign/core";
import { afterEach } from "vitest";
import { signStatement } from "../../src/authority/index.ts";
import { connectScram, DrillRig } from "../../src/main/index.ts";
import { type SandboxRequest } from "../../src/sandbox/index.ts";
import type { ScramLink } from "../../src/scram/index.ts";
import { readKeyFile } from "../../src/scram/index.ts";

export const ENVIRONMENT = { PATH: process.env["PATH"] };
const rigs: DrillRig[] = [];
export const children: ChildProcess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const rig of rigs.splice(0)) await rig.close();
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
}

export async function pidsOf(link: ScramLink): Promise<Pids> {
  return (await link.request({ t: "status" })) as unknown as Pids;
}

export function killEngine({ engine }: Pick<Pids, "engine">, signal: NodeJS.Signals): void {
  if (engine === null) throw new Error("no engine runs");
  process.kill(engine, signal);
}

function again(one: DrillRig): Promise<ScramLink> {
  return connectScram(one.home, ENVIRONMENT, false);
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

export async function reset(one: DrillRig, unrecorded = false): Promise<JsonObject> {
  const link = await again(one);
  try {
    const { event_ids } = (await link.request({ t: "resettable" })) as { event_ids: string[] };
    const named = event_ids.length === 0 ? [`SCRAM-${"1".repeat(20)}`] : event_ids;
    const statement = {
      installation_id: readKeyFile(join(one.home, "scram"), null)?.installationId ?? "",
      reset_id: `rst_${"r".repeat(20)}`,
      nonce: digestOf(event_ids).slice(0, 32),
      event_ids: named,
      statement: "all clear",
      issued_at: new Date().toISOString(),
      expires_at: new Date(Date.now() + 60_000).toISOString(),
    };
    const { operator, architect } = one.signers;
    const subject = { name: statement.reset_id, sha256: digestOf(statement) };
    const type = predicateType("scram-reset");
    const envelope = signStatement([subject], type, statement, operator, architect);
    const value = envelope as unknown as JsonValue;
    if (!unrecorded) await link.request({ t: "reset", envelope: value, commit: false });
    return (await link.request({ t: "reset", envelope: value, commit: true })) as JsonObject;
  } finally {
    link.close();
  }
}
