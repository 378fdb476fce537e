import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { verifyBundle } from "@sovereign/verify";
import { type CliEnd, difference, endOf, KillRig, lookAt, OFFICERS } from "./exec-kill-rig.ts";
import { type BenchReport, printReport, round, timesOf } from "./report.ts";

const TRIALS = Number(process.env["EXEC_KILL_TRIALS"] ?? 26);
const END_MS = 120_000;

type Place = "base" | "result";
type Victim = "control" | "engine" | "sentinel" | "control and sentinel" | "PostgreSQL" | "order";
/** How a stop is given amid a command that runs: by the command with two keys, or by the script. */
type Way = "two keys" | "bin/scram";
interface Scenario {
  readonly of: "run" | "rollback" | "command";
  readonly victim: Victim | Way;
}
const EVERY: readonly Scenario[] = [
  { of: "run", victim: "control" },
  { of: "rollback", victim: "control" },
  { of: "run", victim: "engine" },
  { of: "run", victim: "control" },
  { of: "run", victim: "sentinel" },
  { of: "rollback", victim: "control" },
  { of: "run", victim: "control and sentinel" },
  { of: "run", victim: "PostgreSQL" },
  { of: "rollback", victim: "PostgreSQL" },
  { of: "run", victim: "order" },
  { of: "rollback", victim: "control and sentinel" },
  { of: "rollback", victim: "sentinel" },
  { of: "rollback", victim: "order" },
  { of: "command", victim: "two keys" },
  { of: "command", victim: "bin/scram" },
];
/** All of them, or those whose name begins so: `EXEC_KILL_ONLY="rollback, control"`. */
const ONLY = process.env["EXEC_KILL_ONLY"] ?? "";
const SCENARIOS = EVERY.filter(({ of, victim }) => `${of}, ${victim}`.startsWith(ONLY));

/** What was found in one trial. */
interface Trial extends Scenario {
  readonly phase: string;
  /** What stood in the repository right after the kill, before any command of ours. */
  readonly left: "base" | "result" | "halfway";
  readonly place: string;
  readonly way: string;
  readonly failures: readonly string[];
}

/**
 * kill -9 at random instants of an execution and of its rollback, and orders to stop: is the user's
 * repository at base or at the complete result, does the run say which, and is it brought to an end?
 */
export async function run(): Promise<BenchReport> {
  const lab = await Lab.open();
  const trials: Trial[] = [];
  try {
    for (let at = 0; at < TRIALS; at++) {
      const scenario = SCENARIOS[at % SCENARIOS.length] as Scenario;
      const trial = await lab.trial(scenario, (at + chance()) / TRIALS);
      trials.push(trial);
      const { of, victim, phase, left, place, way, failures } = trial;
      const said = failures.length === 0 ? "ok" : `FAILED: ${failures.join("; ")}`;
      console.error(`${at + 1} ${of}, ${victim}: ${phase}, ${left}, ${place}, ${way}: ${said}`);
    }
  } finally {
    lab.close();
  }
  return reportOf(trials, lab);
}

function reportOf(
  trials: readonly Trial[],
  { runMs, rollbackMs, died, stopped }: Lab,
): BenchReport {
  const names = [...new Set(trials.map(({ of, victim }) => `${of}, ${victim}`))];
  const rows = names.map((name) => {
    const own = trials.filter(({ of, victim }) => `${of}, ${victim}` === name);
    const count = (pick: (trial: Trial) => string): string =>
      Object.entries(Object.groupBy(own, pick))
        .map(([key, found]) => `${key} ${found?.length ?? 0}`)
        .join(", ");
    const failed = own.filter(({ failures }) => failures.length > 0).length;
    const phases = count(({ phase }) => phase);
    const left = count((trial) => trial.left);
    const values = { trials: own.length, failed, left, phases, then: count(({ way }) => way) };
    return { name, values };
  });
  const took = `run ${round(runMs)} ms, rollback ${round(rollbackMs)} ms`;
  const title = [
    `kill -9 during executions: ${took}`,
    ...timesOf("paths dead", died),
    ...timesOf("a stop told", stopped),
  ].join("; ");
  return { title, rows };
}

class Lab {
  readonly rig: KillRig = new KillRig();
  runMs = 0;
  /** From the start of the run to the first sign of bringing back. */
  toBringBackMs = 0;
  rollbackMs = 0;
  readonly died: number[] = [];
  /** How long the commands took that stopped a command, with their own start. */
  readonly stopped: number[] = [];
  #base: string[] = [];
  #result: string[] = [];
  #failed = false;

  /** Learns from undisturbed runs how long they take, and what base and result look like. */
  static async open(): Promise<Lab> {
    const lab = new Lab();
    const { rig } = lab;
    await rig.cli(
      "keys",
      "init",
      "--role",
      "executor",
      "--operator",
      "alice",
      "--architect",
      "bob",
    );
    for (let times = 0; times < 2; times++) {
      const root = rig.repository();
      lab.#base = lookAt(root);
      const before = performance.now();
      const ended = await endOf(rig.start(rig.runArguments(root)));
      lab.runMs = performance.now() - before;
      const run = lab.#requireValid(ended);
      lab.#result = lookAt(root);
      const begun = performance.now();
      lab.#requireValid(await rig.cli("exec", "rollback", run));
      lab.rollbackMs = performance.now() - begun;
      const differs = difference(lookAt(root), lab.#base);
      if (differs.length > 0) throw new Error(`a rollback leaves: ${differs.join("\n")}`);
    }
    return lab;
  }

  #requireValid(ended: CliEnd): string {
    const last = ended.documents.at(-1);
    if (last?.["verdict"] !== "VALID" || last["status"] !== "completed")
      throw new Error(`undisturbed, it ended as ${JSON.stringify(last)} ${ended.err}`);
    return String(last["run"]);
  }

  close(): void {
    if (this.#failed) console.error(`kept: ${this.rig.folder}`);
    else this.rig.dispose();
  }

  async trial(scenario: Scenario, share: number): Promise<Trial> {
    const failures: string[] = [];
    const root = this.rig.repository();
    const found = { phase: "", left: "base" as Trial["left"], place: "", way: "" };
    try {
      if (scenario.of === "command") await this.#command(scenario, root, failures, found);
      else if (scenario.of === "run") await this.#run(scenario, share, root, failures, found);
      else await this.#rollback(scenario, share, root, failures, found);
    } catch (error) {
      failures.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    if (failures.length > 0) this.#failed = true;
    return { ...scenario, ...found, failures };
  }

  async #run(
    { victim }: Scenario,
    share: number,
    root: string,
    failures: string[],
    found: { phase: string; left: Trial["left"]; place: string; way: string },
  ): Promise<void> {
    const { rig } = this;
    const known = new Set(rig.runs());
    const mine = (): string | undefined => rig.runs().find((one) => !known.has(one));
    const order = victim === "order" ? await this.#prepareOrder() : null;
    const child = rig.start(rig.runArguments(root));
    const ended = endOf(child);
    // Some are aimed at the end of a run, where the user's repository is touched.
    if (chance() < 0.4) {
      await this.#untilTape(mine, '"event":"bring_back_start"', () => child.exitCode !== null);
      await sleep(chance() * this.runMs * 0.2);
    } else if (victim === "control" || victim === "PostgreSQL") await sleep(share * this.runMs);
    else {
      await this.#untilGuarded(victim, () => child.exitCode !== null);
      await sleep(share * this.runMs * 0.7);
    }
    await this.#kill(victim, child.pid ?? 0, order);
    found.phase = phaseOf(mine() === undefined ? null : rig.runFile(mine() ?? "", TAPE));
    found.left = this.#standing(root);
    await this.#awaitEnd(ended, child.pid ?? 0, failures);
    await this.#pathsDie(failures);
    await this.#disarm(failures);
    const run = mine();
    if (run !== undefined) await this.#settle(run, root, failures, found);
    if (found.place === "") {
      found.way = "run anew";
      const again = await endOf(rig.start(rig.runArguments(root)));
      await this.#settle(this.#requireValid(again), root, failures, { ...found });
    }
    await this.#everythingGone(root, failures);
  }

  /** What the commands say, and what they bring about, after a run's kill. Ends at base. */
  async #settle(
    run: string,
    root: string,
    failures: string[],
    found: { place: string; way: string },
  ): Promise<void> {
    const { rig } = this;
    const status = await rig.cli("exec", "status", run);
    const said = status.documents.at(-1);
    if (status.code !== 0 || said === undefined) {
      const why = JSON.stringify(said);
      if (!why.includes("ERR_RUN_NOT_FOUND")) failures.push(`status: ${why} ${status.err}`);
      this.#expect("base", root, "without a run", failures, true);
      return;
    }
    found.place = String(said["place"]);
    let place: Place = found.place === "at base" ? "base" : "result";
    this.#expect(place, root, `status says ${found.place}`, failures);
    found.way = `was ${String(said["status"])}`;
    if (said["status"] === "running" || said["status"] === "pending") {
      found.way = "resumed";
      await this.#requireEnd(["resume", run], failures);
      place = "result";
      this.#expect(place, root, "resumed", failures);
    } else if (said["status"] === "completed" && place !== "result")
      failures.push("it says completed, and is not at the result");
    await this.#verify(run, failures);
    if (place === "result") await this.#requireEnd(["rollback", run], failures);
  }

  async #requireEnd(words: readonly string[], failures: string[]): Promise<void> {
    const end = (await this.rig.cli("exec", ...words)).documents.at(-1);
    if (end?.["status"] !== "completed" || end["verdict"] !== "VALID")
      failures.push(`${words.join(" ")}: ${JSON.stringify(end)}`);
  }

  /** A stop while a command's process is known to run: not what is to become one, and no sleep. */
  async #command(
    { victim }: Scenario,
    root: string,
    failures: string[],
    found: { phase: string; left: Trial["left"]; place: string; way: string },
  ): Promise<void> {
    const { rig } = this;
    const known = new Set(rig.runs());
    const child = rig.start(rig.runArguments(root, "held.json"));
    const ended = endOf(child);
    await until(() => rig.isPathAlive || child.exitCode !== null);
    await this.#stop(victim, failures);
    await this.#awaitEnd(ended, child.pid ?? 0, failures);
    const run = rig.runs().find((one) => !known.has(one)) ?? "";
    found.phase = phaseOf(rig.runFile(run, TAPE));
    found.left = this.#standing(root);
    const end = (await ended).documents.at(-1);
    found.way = String(end?.["status"]);
    if (end?.["verdict"] !== "VALID" || end["status"] !== "failed")
      failures.push(`it ended as ${JSON.stringify(end)}`);
    this.#expect("base", root, "after the stop", failures, true);
    await this.#disarm(failures);
    await this.#verify(run, failures);
    found.place = String((await rig.cli("exec", "status", run)).documents.at(-1)?.["place"]);
    await this.#everythingGone(root, failures);
  }

  /** Whoever gives a stop is told that all are dead: nobody may be left when they are. */
  async #stop(victim: Scenario["victim"], failures: string[]): Promise<void> {
    const { rig } = this;
    if (!rig.isPathAlive) failures.push("no command ran");
    await sleep(chance() * 300);
    const before = performance.now();
    const stop = victim === "two keys" ? await rig.cli("scram", "activate", ...OFFICERS) : null;
    const code = stop === null ? await this.#runScript() : stop.code;
    this.stopped.push(performance.now() - before);
    const left = rig.living(true);
    if (left.length > 0) failures.push(`lives on: ${left.join(" | ")}`);
    if (code !== 0) failures.push(`the stop ended with ${String(code)} ${stop?.err ?? ""}`);
  }

  /** @returns its exit code: 0 where all are verified dead */
  async #runScript(): Promise<number | null> {
    const env = { PATH: process.env["PATH"], SOVEREIGN_HOME: this.rig.home };
    const script = spawn("/bin/sh", [resolve("packages/runtime/bin/scram")], {
      env,
      stdio: "ignore",
    });
    const [code] = (await once(script, "close")) as [number | null];
    return code;
  }

  async #rollback(
    { victim }: Scenario,
    share: number,
    root: string,
    failures: string[],
    found: { phase: string; left: Trial["left"]; place: string; way: string },
  ): Promise<void> {
    const { rig } = this;
    const run = this.#requireValid(await endOf(rig.start(rig.runArguments(root))));
    const known = new Set(rig.runs());
    const order = victim === "order" ? await this.#prepareOrder() : null;
    const child = rig.start(["exec", "rollback", run, "--json"]);
    const ended = endOf(child);
    const mine = (): string | undefined => rig.runs().find((one) => !known.has(one));
    const moving = join(rig.home, "runs", run, "rollback/switch");
    const aim = Math.floor(chance() * 3);
    if (aim === 0) await sleep(share * this.rollbackMs);
    else {
      const there = (): boolean => (aim === 1 ? mine() !== undefined : existsSync(moving));
      await until(() => there() || child.exitCode !== null);
      await sleep(chance() * this.rollbackMs * 0.2);
    }
    await this.#kill(victim, child.pid ?? 0, order);
    found.phase = mine() === undefined ? "before it" : this.#rollbackPhase(run, mine() ?? "");
    found.left = this.#standing(root);
    await this.#awaitEnd(ended, child.pid ?? 0, failures);
    await this.#disarm(failures);
    const status = (await rig.cli("exec", "status", run)).documents.at(-1);
    found.place = String(status?.["place"]);
    const wanted = found.place === "at base" ? "base" : "result";
    this.#expect(wanted, root, `status says ${found.place}`, failures);
    if (wanted === "result") {
      found.way = "rolled back again";
      await this.#requireEnd(["rollback", run], failures);
    } else found.way = "was back";
    await this.#everyRunEnded(failures, known);
    await this.#everythingGone(root, failures);
  }

  #rollbackPhase(run: string, rollback: string): string {
    const { rig } = this;
    if (rig.runFile(rollback, "compliance_bundle.json") !== null) return "bundled";
    if (rig.runFile(rollback, "03_executor/rollback_proof.json") !== null) return "proved";
    const journal = rig.runFile(run, "rollback/switch/journal.json");
    if (journal !== null) return `move ${/"state":"(\w+)"/.exec(journal)?.[1] ?? "?"}`;
    return "before the move";
  }

  async #kill(victim: Scenario["victim"], control: number, order: string | null): Promise<void> {
    const { rig } = this;
    if (order !== null) {
      const script = resolve("packages/runtime/bin/scram");
      const env = { PATH: process.env["PATH"], SOVEREIGN_HOME: rig.home };
      spawn("/bin/sh", [script, "--order", order], { env, stdio: "ignore" });
      return;
    }
    const guards = victim === "control" ? null : await rig.guards();
    const pids: (number | null | undefined)[] = [];
    if (victim.startsWith("control")) pids.push(control);
    if (victim.includes("sentinel")) pids.push(guards?.pid);
    if (victim === "engine") pids.push(guards?.engine);
    if (victim === "PostgreSQL") pids.push(rig.postmaster());
    for (const pid of pids) if (typeof pid === "number" && pid > 0) kill(pid);
  }

  async #prepareOrder(): Promise<string> {
    const out = join(this.rig.folder, `order-${this.rig.runs().length}-${chance()}.json`);
    await this.rig.cli("scram", "prepare", ...OFFICERS, "--out", out);
    return out;
  }

  /** What is not there yet cannot be killed. */
  async #untilGuarded(victim: Scenario["victim"], ended: () => boolean): Promise<void> {
    for (let waited = 0; !ended() && waited < END_MS; waited += 20) {
      const guards = await this.rig.guards();
      if (guards !== null && (victim !== "engine" || (guards.engine ?? 0) > 0)) return;
      await sleep(20);
    }
  }

  async #untilTape(
    run: () => string | undefined,
    word: string,
    ended: () => boolean,
  ): Promise<void> {
    const there = (): boolean => {
      const own = run();
      return own !== undefined && (this.rig.runFile(own, TAPE) ?? "").includes(word);
    };
    await until(() => there() || ended());
  }

  async #awaitEnd(ended: Promise<CliEnd>, pid: number, failures: string[]): Promise<void> {
    const timer = setTimeout(() => {
      failures.push("the command did not end");
      kill(pid);
    }, END_MS);
    await ended;
    clearTimeout(timer);
  }

  async #pathsDie(failures: string[]): Promise<void> {
    const before = performance.now();
    const left = await this.rig.survivors(5000, true);
    if (left.length > 0) failures.push(`lives on: ${left.join(" | ")}`);
    this.died.push(performance.now() - before);
  }

  /** A stop stays until both keys reset it; before that nothing may run. */
  async #disarm(failures: string[]): Promise<void> {
    const { rig } = this;
    const status = async (): Promise<unknown> =>
      (await rig.cli("scram", "status")).documents[0]?.["state"];
    if ((await status()) === "ARMED") return;
    const reset = await rig.cli("scram", "reset", ...OFFICERS, "--reason", "a trial");
    if ((await status()) !== "ARMED") failures.push(`reset: ${reset.err}`);
  }

  async #verify(run: string, failures: string[]): Promise<void> {
    const { rig } = this;
    const out = join(rig.folder, `${run}.json`);
    const exported = await rig.cli("bundle", "export", run, "--out", out, "--with-artifacts");
    if (exported.code !== 0) {
      failures.push(`export of ${run}: ${JSON.stringify(exported.documents)}`);
      return;
    }
    const roots = rig.runs().map((one) => rig.runFile(one, "trust-root.json"));
    const trustRoot = roots.find((one) => one !== null) ?? "";
    const report = verifyBundle(readFileSync(out), { trustRoot: Buffer.from(trustRoot) });
    if (report.verdict !== "VALID") failures.push(`bundle of ${run}: ${report.verdict}`);
    if (rig.runFile(run, "compliance_bundle.json") === null)
      failures.push(`${run} is sealed, and its folder has no bundle`);
    if (rig.runs().includes(run) && rig.runFile(run, "work") !== null)
      failures.push(`${run} is sealed, and its work tree is there`);
  }

  /** Every run that ended has a proof, rollbacks that were killed too. */
  async #everyRunEnded(failures: string[], known: ReadonlySet<string>): Promise<void> {
    const listed = (await this.rig.cli("run", "list")).documents;
    for (const { run, status } of listed) {
      if (known.has(String(run))) continue;
      if (status === "running" || status === "pending") failures.push(`${String(run)} is open`);
      else await this.#verify(String(run), failures);
    }
  }

  async #everythingGone(root: string, failures: string[]): Promise<void> {
    this.#expect("base", root, "at the end", failures);
    const left = await this.rig.survivors(20_000);
    if (left.length > 0) failures.push(`lives on: ${left.join(" | ")}`);
  }

  #standing(root: string): Trial["left"] {
    const found = lookAt(root).filter((line) => !OURS.test(line));
    if (difference(found, this.#base).length === 0) return "base";
    return difference(found, this.#result).length === 0 ? "result" : "halfway";
  }

  #expect(wanted: Place, root: string, when: string, failures: string[], locked = false): void {
    const found = lookAt(root).filter((line) => !locked || !OURS.test(line));
    const differs = difference(found, wanted === "base" ? this.#base : this.#result);
    if (differs.length > 0) failures.push(`${when}, not at ${wanted}: ${differs.join(" | ")}`);
  }
}

const TAPE = "audit/run_tape.jsonl";
/** What our lock on the repository looks like until the next command takes it over. */
const OURS = /^git: sovereign\.lock/;

function phaseOf(tape: string | null): string {
  if (tape === null || tape === "") return "before its first entry";
  const last = tape.trimEnd().split("\n").at(-1) ?? "";
  const event = /"event":"(\w+)"/.exec(last)?.[1] ?? "?";
  if (event === "run_end") return "evidence and seal";
  if (event.startsWith("bring_back") || last.includes('"bring_back"')) return "bringing back";
  return last.includes("command.run") && event === "operation_start" ? "in a command" : "in a step";
}

/** From 0 to less than 1. */
function chance(): number {
  return randomInt(1_000_000) / 1_000_000;
}

async function until(there: () => boolean): Promise<void> {
  for (let waited = 0; !there() && waited < END_MS; waited += 2) await sleep(2);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

if (import.meta.main) printReport(await run());
