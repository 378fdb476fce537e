import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ComplianceBundle, JsonObject } from "@sovereign/core";
import { DIALECTS, type Dialect } from "../../../../../../examples/agent/dialects.ts";
import {
  ScriptedModel,
  type ScriptedTurn,
} from "../../../../../../examples/agent/scripted-model.ts";
import { endOf, Installation, type Json } from "../../../../../../test/e2e/cli.ts";
import { VendorStore } from "../../../../src/agents/index.ts";
import { findOurs, groupNameOf } from "../../../../src/scram/index.ts";
import { agentsFolder } from "../../../../src/services/agents/agents-folder.ts";
import { TestRepository } from "../../../executor/support/repository.ts";
import { ADDED_AT, CANARY } from "../../../support/model-rig.ts";

const TWO_KEYS = ["--operator-key", "alice", "--architect-key", "bob"];
const AGENTS = { SOVEREIGN_AGENTS: agentsFolder(process.env) };

/** A bound on what hangs: each agent is a process of a quarter of a gigabyte. */
export const PATIENCE_MS = 300_000;

/** A command that was started, and how it ends. */
export interface Started {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly ended: Promise<{ exit: number | null; lines: Json[] }>;
}

/**
 * An installation with a scripted vendor, and a repository for each test, for real agents that are killed.
 * The commands that are killed have processes of their own; all others share one, which saves most of
 * their time.
 */
export class KilledRig {
  readonly installation = new Installation({ processes: "one" });
  readonly dialect: Dialect;
  readonly agent: string;
  repository!: TestRepository;
  model!: ScriptedModel;
  turns: ScriptedTurn[] = [];
  readonly #children: ChildProcess[] = [];

  private constructor(agent: string) {
    const dialect = DIALECTS[agent];
    if (dialect === undefined) throw new Error(`no dialect of ${agent}`);
    this.agent = agent;
    this.dialect = dialect;
  }

  static async create(agent: string): Promise<KilledRig> {
    const rig = new KilledRig(agent);
    rig.model = await ScriptedModel.start({
      key: CANARY,
      script: () => rig.turns.shift() ?? { text: "done" },
    });
    const about = { name: "scripted", baseUrl: rig.model.url, price: null, key: CANARY };
    const vendor = { ...about, ...rig.dialect.vendor };
    const folder = join(rig.installation.home, "models");
    await new VendorStore(folder, null).add(vendor, ADDED_AT, false);
    const added = await rig.call("keys", "init", "--operator", "alice", "--architect", "bob");
    if (added.exit !== 0) throw new Error(`no keys were made: ${JSON.stringify(added)}`);
    return rig;
  }

  /** A repository as it was, and a vendor that nobody has asked. */
  begin(): void {
    this.repository = new TestRepository({ "a.txt": "a\n" });
    this.turns = [];
    this.model.used.length = 0;
    this.model.requests.length = 0;
  }

  /** Nothing of a test lives, and the kill switch is armed. */
  async end(): Promise<void> {
    for (const child of this.#children.splice(0)) child.kill("SIGKILL");
    this.repository.dispose();
    const [status] = (await this.call("scram", "status")).lines;
    if (status?.["state"] === "ARMED") return;
    const reset = await this.call("scram", "reset", ...TWO_KEYS, "--reason", "the next test");
    if (reset.exit !== 0) throw new Error(`it was not reset: ${JSON.stringify(reset)}`);
  }

  async dispose(): Promise<void> {
    await this.model.close();
    await this.installation.dispose();
  }

  /** The agent at work in the repository, in a process of its own. */
  work(task: string): Started {
    const words = ["agent", "run", this.agent, task, "--repo", this.repository.root, "--json"];
    const child = this.installation.start(words, AGENTS);
    this.#children.push(child);
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (part) => (said += String(part)));
    }
    const ended = endOf(child).then(({ code, out }) => {
      const lines = out.split("\n").filter((line) => line.startsWith("{"));
      return { exit: code, lines: lines.map((line) => JSON.parse(line) as Json) };
    });
    return { child, said: () => said, ended };
  }

  async call(...words: string[]): Started["ended"] {
    const { code, out } = await this.installation.run([...words, "--json"], AGENTS);
    const lines = out.split("\n").filter((line) => line !== "");
    return { exit: code, lines: lines.map((line) => JSON.parse(line) as Json) };
  }

  /** A stop by two keys. @returns its exit code, once it was carried out */
  async stop(): Promise<number | null> {
    const reason = ["--reason", "operator_initiated"];
    return (await this.call("scram", "activate", ...TWO_KEYS, ...reason)).exit;
  }

  /** What the ledger tells of each tool call, by its step. */
  async callsOf(run: string): Promise<unknown[][]> {
    const { lines } = await this.call("agent", "log", run);
    const steps = lines.filter((one) => textOf(one["action"]).startsWith("agent.tool_call"));
    return steps.map(({ step }) =>
      lines.filter((one) => one["step"] === step).map((one) => one["event"]),
    );
  }

  async newestRun(): Promise<Json> {
    const { lines } = await this.call("agent", "list");
    return lines[0] ?? {};
  }

  /** Empty the files of a run's conversation; their folders stay. */
  forgetSession(run: string): void {
    const folder = join(this.installation.home, "runs", run, "work", "session");
    const files = readdirSync(folder, { recursive: true, withFileTypes: true });
    const found = files.filter((one) => one.isFile() && one.name.endsWith(".jsonl"));
    if (found.length === 0) throw new Error("there is no conversation");
    for (const { parentPath, name } of found) rmSync(join(parentPath, name));
  }

  /** The processes of this data folder's proxies. */
  proxies(): number[] {
    return alive(this.installation.home).filter((pid) => wordsOf(pid).includes("model-proxy"));
  }

  /** The processes of this data folder's agents. */
  agents(): number[] {
    return agentsOf(this.installation.home, this.agent);
  }

  /** Kill the control, and wait until nothing of the agent and its proxy lives. */
  async killControl(work: Started): Promise<void> {
    work.child.kill("SIGKILL");
    await work.ended;
    await until(
      () => this.proxies().length === 0,
      () => "the proxy lives",
    );
    await until(
      () => this.agents().length === 0,
      () => "the agent lives",
    );
  }
}

function wordsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** Processes whose words have this in them, wherever they are. */
export function alive(words: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => wordsOf(pid).includes(words));
}

/** The processes of such an agent that are paths of this data folder: others' tests have some, too. */
export function agentsOf(home: string, agent: string): number[] {
  const name = groupNameOf(join(home, "scram"));
  const ours = findOurs({ name, paths: [], everything: true }).map(({ pid }) => pid);
  return ours.filter((pid) => wordsOf(pid).includes(`/agent/${agent}`));
}

export async function until(holds: () => boolean, what: () => string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`it never came to hold: ${what()}`);
    await sleep(20);
  }
}

export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The model calls that the evidence counts: those that ended, and what it has of their usage. */
export function modelCalls(path: string): { begun: number; ends: JsonObject[] } {
  const { entries } = JSON.parse(readFileSync(path, "utf8")) as ComplianceBundle;
  const data = (event: string): JsonObject[] =>
    entries.filter(({ entry }) => entry.event_type === event).map(({ entry }) => entry.data);
  return { begun: data("llm.reserved").length, ends: data("llm.called") };
}
