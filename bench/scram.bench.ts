import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DrillRig, type Owned } from "../packages/runtime/src/services/index.ts";
import { connectSandbox } from "../packages/runtime/src/sandbox/index.ts";
import { Journal, openEvents } from "../packages/runtime/src/scram/index.ts";
import { Hogs } from "./hogs.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";
import { deaths, wedges } from "./scram-deaths.ts";

const TRIALS = Number(process.env["SCRAM_TRIALS"] ?? 30);
const RACES = Number(process.env["SCRAM_RACES"] ?? 300);
const KILLS = Number(process.env["SCRAM_KILLS"] ?? 100);
const ENVIRONMENT = { PATH: process.env["PATH"] };
const BACKEND = process.env["SCRAM_BACKEND"] === "container" ? "container" : "bubblewrap";
const OWNER = { tenant_id: "bench", run_id: `run_${"b".repeat(20)}` };

/**
 * The kill switch: what the check before every action costs; from an order to verified death of
 * hostile paths; what a naive runner does; deaths and wedges of our own processes; orders during starts.
 */
export async function run(): Promise<BenchReport> {
  const rows: BenchRow[] = [];
  // It takes half an hour: each row is told when it is there.
  const add = (...more: readonly BenchRow[]): void => {
    rows.push(...more);
    for (const row of more) console.error(`${row.name}: ${JSON.stringify(row.values)}`);
  };
  const parts: Record<string, () => Promise<void>> = {
    preflight: async () => {
      add(await preflight());
    },
    latency: async () => {
      for (const paths of [15, 100]) {
        for (const setting of SETTINGS) add(await orders(paths, setting));
        for (const setting of SETTINGS) add(await entered(paths, setting));
      }
    },
    owning: async () => {
      for (const hogs of [0, 8]) {
        for (const what of ["files", "mappings", "epolls"] as const) {
          for (const paths of [1, 4]) add(await owned(what, paths, hogs));
        }
      }
    },
    naive: async () => {
      add(...(await naive(15)));
    },
    deaths: async () => {
      add(...(await deaths(KILLS, 4)));
    },
    wedges: async () => {
      for (const hogs of [0, 8]) add(...(await wedges(TRIALS, hogs)));
    },
    races: async () => {
      add(await races());
    },
    thousand: async () => {
      add(await thousand());
    },
  };
  const wanted = process.env["SCRAM_PARTS"]?.split(",") ?? Object.keys(parts);
  for (const part of wanted) {
    const measure = parts[part];
    if (measure === undefined) throw new Error(`SCRAM_PARTS: ${Object.keys(parts).join(", ")}`);
    await measure();
  }
  return { title: `Kill switch, milliseconds, ${TRIALS} trials a row`, rows };
}

async function preflight(): Promise<BenchRow> {
  const rig = await DrillRig.open(ENVIRONMENT);
  const samples: number[] = [];
  for (let call = 0; call < 220_000; call++) {
    const start = process.hrtime.bigint();
    rig.link.preflight(OWNER);
    const took = Number(process.hrtime.bigint() - start) / 1000;
    if (call >= 20_000) samples.push(took);
    if (call % 20_000 === 0) await sleep(0);
  }
  await rig.close();
  const { p50, p99 } = quantiles(samples);
  return { name: "pre-flight check, MICROseconds", values: { p50: round(p50), p99: round(p99) } };
}

interface Setting {
  readonly wedged: boolean;
  readonly hogs: number;
}

const SETTINGS: readonly Setting[] = [0, 8].flatMap((hogs) => [
  { wedged: false, hogs },
  { wedged: true, hogs },
]);

function nameOf(what: string, paths: number, { wedged, hogs }: Setting): string {
  return `${what}, ${paths} paths (${BACKEND}), engine ${wedged ? "wedged" : "idle"}, ${hogs} CPU hogs`;
}

/** Stop hostile paths once, and count by an independent sweep what is left. */
async function trial(
  paths: number,
  { wedged, hogs }: Setting,
  stop: (rig: DrillRig) => Promise<void>,
): Promise<number> {
  const rig = await DrillRig.open(ENVIRONMENT);
  await rig.hold(paths, OWNER, { backend: BACKEND });
  const engine = await engineOf(rig);
  if (wedged) process.kill(engine, "SIGSTOP");
  const busy = new Hogs(hogs);
  await sleep(100);
  await stop(rig);
  const survivors = rig.survivors();
  busy.end();
  await rig.close();
  return survivors;
}

async function orders(paths: number, setting: Setting): Promise<BenchRow> {
  const signalled: number[] = [];
  const reaped: number[] = [];
  const seen: number[] = [];
  let survivors = 0;
  for (let done = 0; done < TRIALS; done++) {
    survivors += await trial(paths, setting, async (rig) => {
      const { body, seenMs } = await rig.stop();
      signalled.push(body.t_signalled_ms ?? Number.POSITIVE_INFINITY);
      reaped.push(body.t_reaped_ms ?? Number.POSITIVE_INFINITY);
      seen.push(seenMs);
    });
  }
  const { p50, p99, max } = quantiles(reaped);
  return {
    name: nameOf("order to all dead", paths, setting),
    values: {
      p50: round(p50),
      p99: round(p99),
      max: round(max),
      "signalled p50": round(quantiles(signalled).p50),
      "receipt in hand p50": round(quantiles(seen).p50),
      survivors,
    },
  };
}

/**
 * Paths that own as much as they may of something that their death takes apart; where they own more
 * together than a stop has time for, some are ended before it. One installation for all trials.
 */
async function owned(what: Owned, paths: number, hogs: number): Promise<BenchRow> {
  const reaped: number[] = [];
  const assumed: number[] = [];
  let survivors = 0;
  const rig = await DrillRig.open(ENVIRONMENT);
  try {
    while (reaped.length < TRIALS) {
      await rig.holdOwning(what, paths, { backend: BACKEND });
      assumed.push(rig.assumedMs() ?? 0);
      const busy = new Hogs(hogs);
      await sleep(100);
      const { body } = await rig.stop();
      survivors += rig.survivors();
      reaped.push(body.t_reaped_ms ?? Number.POSITIVE_INFINITY);
      busy.end();
      await rig.reset();
    }
  } finally {
    await rig.close();
  }
  const { p50, p99, max } = quantiles(reaped);
  return {
    name: `order to all dead, ${paths} owning ${what} (${BACKEND}), ${hogs} CPU hogs`,
    values: {
      p50: round(p50),
      p99: round(p99),
      max: round(max),
      "assumed p50": round(quantiles(assumed).p50),
      survivors,
      trials: reaped.length,
    },
  };
}

/** From the start of `scram` to the last process's end, as the person at the terminal has it. */
async function entered(paths: number, setting: Setting): Promise<BenchRow> {
  const dead: number[] = [];
  let survivors = 0;
  for (let done = 0; done < TRIALS; done++) {
    survivors += await trial(paths, setting, async (rig) => {
      const started = new Date().getTime();
      const child = spawn("/bin/sh", [resolve("packages/runtime/bin/scram")], {
        env: { ...ENVIRONMENT, SOVEREIGN_HOME: rig.home },
        stdio: "ignore",
      });
      await new Promise((end) => child.on("close", end));
      dead.push(deathAt(rig.home) - started);
    });
  }
  const { p50, p99, max } = quantiles(dead);
  return {
    name: nameOf("Enter (sh, signal file) to all dead", paths, setting),
    values: { p50: round(p50), p99: round(p99), max: round(max), survivors },
  };
}

/** When the last path was verified dead, by the sentinel's record: start of the stop and duration. */
function deathAt(home: string): number {
  const { lines } = Journal.open(join(home, "scram/journal.jsonl"));
  const begun = lines.find(({ event }) => event === "scram.activated");
  const [event] = openEvents(lines);
  if (begun === undefined || event === undefined) throw new Error("no stop is recorded");
  return Date.parse(begun.at) + (event.termination_latency_ms ?? Number.POSITIVE_INFINITY);
}

const NAIVE = `trap '' TERM INT HUP; (setsid sleep 7654321.5 &); sleep 7654321.5 & while :; do sleep 1; done`;

/** The same payloads without us: signals to the process group, and a switch that calls back. */
async function naive(paths: number): Promise<BenchRow[]> {
  const { KillSwitch } = await import("@microsoft/agent-governance-sdk");
  const rows: BenchRow[] = [];
  for (const manner of ["SIGTERM, 5 s, SIGKILL of the group", "callback kill switch"]) {
    const group = manner.startsWith("SIG");
    const children = Array.from({ length: paths }, () =>
      spawn("/bin/sh", ["-c", NAIVE], { detached: true, stdio: "ignore" }),
    );
    await sleep(300);
    const before = naiveSurvivors();
    const start = performance.now();
    if (group) {
      for (const { pid } of children) process.kill(-(pid ?? 0), "SIGTERM");
      await sleep(5000);
      for (const { pid } of children) process.kill(-(pid ?? 0), "SIGKILL");
    } else {
      const kill = new KillSwitch({ enabled: true });
      for (const [at, child] of children.entries()) {
        kill.registerHandler(`agent-${at}`, () => {
          child.kill("SIGTERM");
        });
      }
      await Promise.all(children.map((_, at) => kill.kill(`agent-${at}`, { reason: "bench" })));
    }
    const claimed = performance.now() - start;
    await sleep(200);
    const survivors = naiveSurvivors();
    for (const pid of naivePids()) process.kill(pid, "SIGKILL");
    for (const { pid } of children) {
      try {
        process.kill(-(pid ?? 0), "SIGKILL");
      } catch {
        // Gone already.
      }
    }
    rows.push({
      name: `naive: ${manner}, ${paths} paths`,
      values: { "claims done": round(claimed), processes: before, survivors },
    });
  }
  return rows;
}

function naivePids(): number[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("7654321.5");
      } catch {
        return false;
      }
    })
    .map(Number);
}

const naiveSurvivors = (): number => naivePids().length;

/** Orders 0 to 50, and 0 to 200, ms after starts: payloads that ran after the latch was there. */
async function races(): Promise<BenchRow> {
  let late = 0;
  let bypassed = 0;
  let ran = 0;
  const rig = await DrillRig.open(ENVIRONMENT);
  const sandbox = connectSandbox(rig.link, OWNER);
  for (let race = 0; race < RACES; race++) {
    await rig.link.request({ t: "engine" });
    const out = join(rig.home, `race-${race}`);
    mkdirSync(out);
    const controller = new AbortController();
    const running = Array.from({ length: 3 }, (_, index) =>
      sandbox
        .run(rig.payload(`: > /out/${index}; sleep 60`, out), controller.signal)
        .catch(() => 0),
    );
    await sleep((race * (race % 2 === 0 ? 50 : 200)) / RACES);
    const { event } = await rig.stop();
    if (event.invariants_failed.includes("INV-SYS-002")) bypassed += 1;
    const latched = statSync(join(rig.home, "scram/LATCH")).mtimeMs;
    const dead = latched + (event.termination_latency_ms ?? 0);
    controller.abort();
    await Promise.all(running);
    for (const name of readdirSync(out)) {
      ran += 1;
      if (statSync(join(out, name)).mtimeMs > dead + 2) late += 1;
    }
    await rig.reset();
  }
  await rig.close();
  return {
    name: "orders during starts",
    values: {
      orders: RACES,
      "payloads that ran": ran,
      "gates opened after the stop": bypassed,
      "acts after death": late,
    },
  };
}

const STUBBORN = "trap '' TERM INT HUP; : > /out/ready; while :; do sleep 1000; done";

/** A thousand asked for at once: the engine lets in what can be reaped in time, the others wait. */
async function thousand(): Promise<BenchRow> {
  const reaped: number[] = [];
  let admitted = 0;
  let survivors = 0;
  let later = 0;
  for (let trial = 0; trial < Math.ceil(TRIALS / 10); trial++) {
    const rig = await DrillRig.open(ENVIRONMENT);
    const sandbox = connectSandbox(rig.link, OWNER);
    const controller = new AbortController();
    const outs = Array.from({ length: 1000 }, (_, index) => join(rig.home, `thousand-${index}`));
    const running = outs.map((out) => {
      mkdirSync(out);
      return sandbox.run(rig.payload(STUBBORN, out), controller.signal).catch(() => 0);
    });
    const ready = (): number => outs.filter((out) => readdirSync(out).length > 0).length;
    let still = 0;
    let seen = 0;
    while (still < 10) {
      await sleep(300);
      const now = ready();
      still = now > 0 && now === seen ? still + 1 : 0;
      seen = now;
    }
    admitted = Math.max(admitted, ready());
    const before = ready();
    const { body } = await rig.stop();
    survivors += rig.survivors();
    reaped.push(body.t_reaped_ms ?? Number.POSITIVE_INFINITY);
    await Promise.all(running);
    later += ready() - before;
    await rig.close();
  }
  const { p50, max } = quantiles(reaped);
  return {
    name: "order to all dead, 1,000 paths asked for",
    values: { p50: round(p50), max: round(max), admitted, survivors, "began after": later },
  };
}

async function engineOf(rig: DrillRig): Promise<number> {
  return (await pidsOf(rig)).engine;
}

async function pidsOf(rig: DrillRig): Promise<{ pid: number; engine: number; dead_man: number }> {
  await rig.link.request({ t: "engine" });
  const status = await rig.link.request({ t: "status" });
  return status as { pid: number; engine: number; dead_man: number };
}
