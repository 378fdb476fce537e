import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  digestOf,
  type EntryData,
  type LedgerEntry,
  parseCanonicalJson,
  SLSA_PROVENANCE_TYPE,
  predicateType,
} from "@sovereign/core";
import { createModelRegistry } from "../packages/runtime/src/pipeline/index.ts";
import { Store } from "../packages/runtime/src/store/index.ts";
import { systemClock, systemEntropy } from "../packages/runtime/src/system/index.ts";
import { groupNameOf, MARKER_VARIABLE } from "../packages/runtime/src/scram/index.ts";
import { type CliEnd, endOf, Installation, type Json, pathsOf } from "../test/e2e/cli.ts";
import { killAt } from "../test/e2e/kill-at-entry.ts";

const EXAMPLE = "examples/iron-path";
/** What is tried is no limit of time: on a busy machine the programs take what they need. */
const LIMITS = "    limits: { wall_ms: 3600000 }\n";
const MODEL = "penguin_species";
const TENANT = "default";
const PEOPLE = ["release_manager", "safety_officer"];
const TOGETHER = PEOPLE.flatMap((role) => ["--approver", role]);
const OFFICERS = ["--operator-key", "alice", "--architect-key", "bob"];

/** What was found after a stop amid a pipeline whose program ran. */
export interface PipelineStop {
  /** The last event in the run's stream. */
  readonly left: string;
  /** How long the command that stopped took. */
  readonly tookMs: number;
  readonly wrong: readonly string[];
}

/** Which command is killed: the run, with people's consent given at once or one by one. */
export type Killed = "run" | "run that waits" | "approve";

/** What was found after the kills of one pipeline. */
export interface PipelineKill {
  readonly killed: Killed;
  /** How many processes were killed before their end. */
  readonly kills: number;
  /** The last event in the run's stream after the first kill; none where there was no run. */
  readonly left: string;
  /** What does not agree; empty where all does. */
  readonly wrong: readonly string[];
}

/** A throw-away installation whose pipelines are killed at random instants. */
export class PipelineKillRig {
  readonly #installation = new Installation({ processes: "one" });
  readonly #pipeline = patientPipeline(this.#installation.home);
  #store: Store | null = null;
  /** How long an undisturbed run takes. */
  #runMs = 0;
  #approveMs = 0;

  async open(): Promise<void> {
    const began = performance.now();
    const first = await this.#cli("run", this.#pipeline, ...TOGETHER);
    this.#runMs = performance.now() - began;
    const ended = last(first);
    if (ended["verdict"] !== "VALID") throw new Error(`undisturbed: ${JSON.stringify(ended)}`);
    // As long as this one is connected, no command starts or stops the server.
    this.#store = await openStore(this.#installation.home);
    this.#approveMs = this.#runMs / 8;
    await this.#cli("keys", "add", "--operator", "alice", "--architect", "bob");
  }

  /**
   * Stop everything at a random instant at which a program of a pipeline is on the sentinel's list.
   * Nothing of it may live when whoever stopped is told so, and its evidence holds.
   */
  async stopAmid(way: "two keys" | "bin/scram"): Promise<PipelineStop> {
    const wrong: string[] = [];
    const child = this.#installation.start(["run", this.#pipeline, ...TOGETHER, "--json"]);
    const ended = endOf(child);
    await this.#untilPath(child);
    const began = performance.now();
    const code = await this.#stop(way);
    const tookMs = performance.now() - began;
    const left = survivorsOf(join(this.#installation.home, "scram"));
    if (left.length > 0) wrong.push(`lives on: ${left.join(" | ")}`);
    if (code !== 0) wrong.push(`the stop ended with ${String(code)}`);
    const end = last(await ended);
    if (end["status"] !== "failed" || end["verdict"] !== "VALID") {
      wrong.push(`it ended as ${JSON.stringify(end)}`);
    }
    const reset = await this.#cli("scram", "reset", ...OFFICERS, "--reason", "a trial");
    if (reset.code !== 0) wrong.push(`reset: ${reset.out} ${reset.err}`);
    const run = String(end["run"]);
    const entries = await this.#entries(run);
    if (entries.at(-1)?.event_type !== "run.sealed") wrong.push("its ledger has no seal");
    wrong.push(...(await this.#registryDiffers(run)));
    return { left: entries.at(-2)?.event_type ?? "none", tookMs, wrong };
  }

  /** Until a program is on the sentinel's list, after some others were. */
  async #untilPath(child: ChildProcess): Promise<void> {
    const scram = join(this.#installation.home, "scram");
    const there = async (): Promise<void> => {
      while (((await pathsOf(scram)) ?? 0) === 0) {
        if (child.exitCode !== null) throw new Error("no program ran any more");
        await sleep(2);
      }
    };
    for (let stage = randomInt(6); stage > 0; stage--) {
      await there();
      await sleep(randomInt(400));
    }
    await there();
  }

  /** @returns the exit code: 0 where all are verified dead */
  async #stop(way: "two keys" | "bin/scram"): Promise<number | null> {
    const { home } = this.#installation;
    if (way === "two keys") {
      return (await endOf(this.#installation.start(["scram", "activate", ...OFFICERS]))).code;
    }
    const env = { PATH: process.env["PATH"], SOVEREIGN_HOME: home };
    const script = resolve("packages/runtime/bin/scram");
    return (await endOf(spawn("/bin/sh", [script], { env, stdio: ["ignore", "pipe", "pipe"] })))
      .code;
  }

  async close(): Promise<void> {
    await this.#store?.close();
    await this.#installation.dispose();
  }

  /** Kill a run, and often what goes on with it; then let it end, and look at everything. */
  async kill(killed: Killed): Promise<PipelineKill> {
    const wrong: string[] = [];
    const known = new Set(await this.#runs());
    const together = killed === "run" ? TOGETHER : [];
    let kills = 0;
    const aim = async (args: readonly string[], ms: number): Promise<void> => {
      if (await this.#killed(args, ms)) kills += 1;
    };
    if (killed === "approve") await this.#cli("run", this.#pipeline);
    else await aim(["run", this.#pipeline, ...together], this.#runMs);
    const run = (await this.#runs()).find((one) => !known.has(one));
    if (run === undefined) return { killed, kills, left: "none", wrong };
    const left = (await this.#entries(run)).at(-1)?.event_type ?? "none";
    if (killed === "run" && randomInt(2) === 0) {
      await aim(["run", "resume", run, ...together], this.#runMs);
    }
    // Two promotions and a rollback ask for people.
    for (let step = 0; killed !== "run" && step < 3; step++) {
      await this.#consent(run, killed === "approve" ? aim : null, wrong);
    }
    await this.#finish(run, together, wrong);
    return { killed, kills, left, wrong };
  }

  /**
   * Kill a run once an entry is durable, then let it end.
   * @param entry as `killAt` takes it
   */
  async killAtEntry(entry: string): Promise<PipelineKill & { readonly step: unknown }> {
    const wrong: string[] = [];
    const known = new Set(await this.#runs());
    const words = ["run", this.#pipeline, ...TOGETHER, "--json"];
    const { code } = await endOf(this.#installation.start(words, killAt(entry)));
    const run = (await this.#runs()).find((one) => !known.has(one)) ?? "";
    const at = (await this.#entries(run)).at(-1);
    await this.#finish(run, TOGETHER, wrong);
    const left = at?.event_type ?? "none";
    return { killed: "run", kills: code === null ? 1 : 0, left, step: at?.data["step_id"], wrong };
  }

  async #finish(run: string, together: readonly string[], wrong: string[]): Promise<void> {
    const end = last(await this.#cli("run", "resume", run, ...together));
    const sealed = JSON.stringify(end).includes("ERR_RUN_SEALED");
    const good = end["status"] === "completed" && end["verdict"] === "VALID";
    if (!sealed && !good) wrong.push(`resumed, it ended as ${JSON.stringify(end)}`);
    wrong.push(...(await this.#disagreements(run)), ...(await this.#registryDiffers(run)));
  }

  /** Bring a run to where it waits, and have both people consent; some of the commands are killed. */
  async #consent(
    run: string,
    aim: ((args: readonly string[], ms: number) => Promise<void>) | null,
    wrong: string[],
  ): Promise<void> {
    await this.#cli("run", "resume", run);
    for (const role of PEOPLE) {
      const args = ["run", "approve", run, "--approver", role];
      const before = await this.#granted(run, role);
      if (aim !== null) await aim(args, this.#approveMs);
      const after = await this.#granted(run, role);
      if (after > before + 1) wrong.push(`one command recorded ${after - before} approvals`);
      // A kill may have come before it was recorded: then it is given again.
      if (after === before) {
        const end = await this.#cli(...args);
        const waits = end.code === 0;
        const recorded = (await this.#granted(run, role)) - after;
        if (recorded !== (waits ? 1 : 0)) wrong.push(`${role}: ${recorded} recorded, ${end.out}`);
      }
    }
    await this.#cli("run", "resume", run);
  }

  async #granted(run: string, role: string): Promise<number> {
    const entries = await this.#entries(run);
    return entries.filter(
      ({ event_type: event, data }) => event === "approval.granted" && data["approver"] === role,
    ).length;
  }

  /** @returns whether it was killed before its end */
  async #killed(args: readonly string[], ms: number): Promise<boolean> {
    const child = this.#installation.start([...args, "--json"]);
    const ended = endOf(child);
    await Promise.race([sleep(randomInt(1000) * 0.001 * ms), ended]);
    child.kill("SIGKILL");
    return (await ended).code === null;
  }

  #cli(...args: string[]): Promise<CliEnd> {
    return this.#installation.run([...args, "--json"]);
  }

  async #runs(): Promise<string[]> {
    const rows = await this.#open.listRuns(TENANT, { limit: 10_000, status: null, kind: null });
    return rows.map(({ runId }) => runId);
  }

  async #entries(run: string): Promise<LedgerEntry[]> {
    const entries: LedgerEntry[] = [];
    for await (const { bytes } of this.#open.readStream(TENANT, run)) {
      entries.push(parseCanonicalJson(bytes) as unknown as LedgerEntry);
    }
    return entries;
  }

  get #open(): Store {
    if (this.#store === null) throw new Error("the rig is not open");
    return this.#store;
  }

  /** Registry, approvals and ledger of a run that has ended. */
  async #disagreements(run: string): Promise<string[]> {
    const entries = await this.#entries(run);
    const wrong = [...stepsOf(entries), ...attestationsOf(entries)];
    if (entries.at(-1)?.event_type !== "run.sealed") wrong.push("its ledger has no seal");
    const row = await this.#open.findRun(TENANT, run);
    if (row?.status !== "completed") wrong.push(`its row says ${String(row?.status)}`);
    const again = await this.#cli("run", "resume", run);
    if (again.code !== 2) wrong.push(`resumed once more: ${again.out}`);
    return wrong;
  }

  /** What the registry holds of a run, beside what the ledger says of it. */
  async #registryDiffers(run: string): Promise<string[]> {
    const wrong: string[] = [];
    const registry = createModelRegistry({
      folder: join(this.#installation.home, "registry"),
      clock: systemClock,
      entropy: systemEntropy,
    });
    const all = await registry.history(MODEL);
    const history = all.filter((one) => one.run_id === run);
    const wanted = switchesOf(await this.#entries(run), run);
    const found = history.map(({ digest, idempotency_key: key }) => `${key} ${digest}`);
    if (digestOf(found) !== digestOf(wanted)) {
      wrong.push(`the registry has ${found.join(", ")}; the ledger ${wanted.join(", ")}`);
    }
    const current = await registry.current(MODEL);
    // A run that was stopped may have switched none: then that of a run before it stays.
    if (current?.digest !== all.at(-1)?.digest) wrong.push("another model is current");
    await registry.read(current?.digest ?? "");
    return wrong;
  }
}

/** The example in a folder of its own. @returns its file */
function patientPipeline(home: string): string {
  const folder = join(home, "pipeline");
  cpSync(EXAMPLE, folder, { recursive: true });
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  const file = join(folder, "pipeline.yaml");
  const text = readFileSync(file, "utf8");
  const patient = text
    .replaceAll(/^ {4}outputs: /gm, `${LIMITS}    outputs: `)
    .replace(/^ {4}agents:/m, `${LIMITS}    agents:`);
  writeFileSync(file, patient);
  return file;
}

/** Each step of the pipeline completed once, and each of its places was authorised once. */
function stepsOf(entries: readonly LedgerEntry[]): string[] {
  const wrong: string[] = [];
  const places = new Set<string>();
  const completed = new Map<string, number>();
  for (const { event_type: event, data } of entries) {
    if (event === "execution.authorized") {
      const { step_id, attempt } = (data as EntryData<"execution.authorized">).context;
      const place = `${step_id} ${attempt}`;
      if (places.has(place)) wrong.push(`${place} was authorised twice`);
      places.add(place);
    }
    if (event === "execution.completed") {
      const { step_id } = data as EntryData<"execution.completed">;
      completed.set(step_id, (completed.get(step_id) ?? 0) + 1);
    }
  }
  for (const [step, count] of completed)
    if (count !== 1) wrong.push(`${step} ended ${count} times`);
  if (completed.size !== STEPS) wrong.push(`${completed.size} steps completed, not ${STEPS}`);
  return wrong;
}

/** Eight stages, one of which has four agents and no step of its own. */
const STEPS = 11;

/** Each model that was trained has its provenance, and the rollback its proof. */
function attestationsOf(entries: readonly LedgerEntry[]): string[] {
  const found = entries
    .filter(({ event_type: event }) => event === "attestation.issued")
    .map(({ data }) => {
      const { predicate_type: type, stage = "" } = data as EntryData<"attestation.issued">;
      return `${type} ${stage}`;
    });
  const wanted = [
    `${SLSA_PROVENANCE_TYPE} baseline_training`,
    `${SLSA_PROVENANCE_TYPE} model_training`,
    `${predicateType("rollback-proof")} rollback`,
  ];
  return wanted.flatMap((one) => {
    const times = found.filter((other) => other === one).length;
    return times === 1 ? [] : [`${one}: ${times} times, not once`];
  });
}

/** The switches that the ledger knows, in order, as the registry writes them. */
function switchesOf(entries: readonly LedgerEntry[], run: string): string[] {
  const asked = new Map<string, string>();
  const switches: string[] = [];
  for (const { event_type: event, data } of entries) {
    if (event === "execution.authorized") {
      const { action, context } = data as EntryData<"execution.authorized">;
      const { type, params } = action;
      if (type !== "model.promote" && type !== "model.rollback") continue;
      asked.set(context.step_id, shaOf(params));
    }
    if (event !== "execution.completed") continue;
    const { step_id } = data as EntryData<"execution.completed">;
    const sha = asked.get(step_id);
    if (sha !== undefined) switches.push(`${digestOf({ run_id: run, step_id })} ${sha}`);
  }
  return switches;
}

function shaOf({ sha256 }: Json): string {
  return typeof sha256 === "string" ? sha256 : "";
}

function last({ out }: CliEnd): Json {
  const lines = out.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"));
  return JSON.parse(lines.at(-1) ?? "{}") as Json;
}

function openStore(home: string): Promise<Store> {
  const folder = join(home, "postgres");
  return Store.open({ folder, headsFolder: join(home, "ledger"), databaseUrl: null });
}

/** What of an installation's paths lives, as no part of it says: by the marker that each one carries. */
function survivorsOf(scram: string): string[] {
  const marker = `${MARKER_VARIABLE}=${groupNameOf(scram)}/`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/environ`).includes(marker))
    .map((pid) => `${pid} ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").slice(0, 200)}`);
}

/** Empty for one that is dead. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
