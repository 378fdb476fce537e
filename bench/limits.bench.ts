import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type * as Sandbox from "../packages/runtime/src/sandbox/index.ts";
import type { DrillRig } from "../packages/runtime/src/services/index.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const TRIALS = Number(process.env["LIMITS_TRIALS"] ?? 30);
/** A worktree of another commit, with its `node_modules`: what this one is compared with. */
const BASE = process.env["LIMITS_BASE"];
const ENVIRONMENT = { PATH: process.env["PATH"] };
const OWNER = { tenant_id: "bench", run_id: `run_${"b".repeat(20)}` };
const COMMANDS = 20;

interface Version {
  readonly name: string;
  readonly createSandbox: typeof Sandbox.createSandbox;
  readonly connectSandbox: typeof Sandbox.connectSandbox;
  readonly DrillRig: typeof DrillRig;
}

/**
 * What the limits of a path cost: its start alone, a command through sentinel and engine, and a stop of
 * hostile paths; here and, with LIMITS_BASE, in another version, by turns, so that a noisy moment falls
 * on both.
 */
export async function run(): Promise<BenchReport> {
  const versions = [await load("here", resolve("."))];
  if (BASE !== undefined) versions.push(await load("base", resolve(BASE)));
  const rows: BenchRow[] = [
    ...(await rowsOf("start of a sandbox, verified dead", versions, TRIALS, start)),
    ...(await rowsOf("a command through sentinel and engine", versions, 1, commands)),
  ];
  for (const paths of [15, 100]) {
    const stop = (version: Version): Promise<number[]> => stopOf(version, paths);
    rows.push(...(await rowsOf(`order to all dead, ${paths} paths`, versions, TRIALS, stop)));
  }
  return { title: `What limits cost, milliseconds, ${TRIALS} trials a row`, rows };
}

async function load(name: string, root: string): Promise<Version> {
  const source = join(root, "packages/runtime/src");
  const sandbox = (await import(join(source, "sandbox/index.ts"))) as typeof Sandbox;
  // Where the rig lay before the use cases had a folder of their own.
  const { DrillRig } = (await import(join(source, "services/index.ts")).catch(
    () => import(join(source, "main/index.ts")),
  )) as Pick<Version, "DrillRig">;
  const { createSandbox, connectSandbox } = sandbox;
  return { name, createSandbox, connectSandbox, DrillRig };
}

async function rowsOf(
  what: string,
  versions: readonly Version[],
  trials: number,
  measure: (version: Version) => Promise<number[]>,
): Promise<BenchRow[]> {
  const taken = versions.map((): number[] => []);
  for (let trial = 0; trial < trials; trial++) {
    for (const [at, version] of versions.entries()) taken[at]?.push(...(await measure(version)));
  }
  return versions.map(({ name }, at) => {
    const { p50, p99, max } = quantiles(taken[at] ?? []);
    const values = { p50: round(p50), p99: round(p99), max: round(max) };
    return { name: `${what}, ${name}`, values: { ...values, samples: taken[at]?.length ?? 0 } };
  });
}

async function start({ createSandbox }: Version): Promise<number[]> {
  const limits = {
    wallMs: 30_000,
    cpuSeconds: 20,
    memoryBytes: 512 * 1024 * 1024,
    processes: 64,
    outputBytes: 100_000,
    fileBytes: 1_000_000,
  };
  const argv = ["/bin/sh", "-c", "exit 0"];
  const request = { argv, cwd: "/tmp", readOnly: [], writable: [], env: {}, limits };
  const begun = performance.now();
  await createSandbox().run(request, new AbortController().signal);
  return [performance.now() - begun];
}

async function commands({ DrillRig, connectSandbox }: Version): Promise<number[]> {
  const rig = await DrillRig.open(ENVIRONMENT);
  const sandbox = connectSandbox(rig.link, OWNER);
  const out = join(rig.home, "out");
  mkdirSync(out);
  const took: number[] = [];
  for (let done = 0; done < TRIALS + COMMANDS; done++) {
    const begun = performance.now();
    await sandbox.run(rig.payload("exit 0", out), new AbortController().signal);
    // The first ones warm up.
    if (done >= COMMANDS) took.push(performance.now() - begun);
  }
  await rig.close();
  return took;
}

async function stopOf({ DrillRig }: Version, paths: number): Promise<number[]> {
  const rig = await DrillRig.open(ENVIRONMENT);
  try {
    await rig.hold(paths, OWNER);
    const { body } = await rig.stop();
    return [body.t_reaped_ms ?? Number.POSITIVE_INFINITY];
  } finally {
    await rig.close();
  }
}
