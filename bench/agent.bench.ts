import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { utf8Encode } from "@sovereign/core";
import { DIALECTS, type Dialect } from "../examples/agent/dialects.ts";
import { ScriptedModel, type ScriptedTurn } from "../examples/agent/scripted-model.ts";
import { VendorStore } from "../packages/runtime/src/agents/index.ts";
import {
  adapterOf,
  findProgram,
  type InstalledAgent,
} from "../packages/runtime/src/coding/index.ts";
import {
  createAgentSession,
  INSTALLATION_KEYS,
  openInstallation,
  parsePolicy,
} from "../packages/runtime/src/index.ts";
import { agentsFolder } from "../packages/runtime/src/services/agents/agents-folder.ts";
import { run as proxyRun } from "./model-proxy.bench.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

/** `npm run bench agent -- --trials=20 --agents=claude,codex` */
const TRIALS = Number(optionOf("trials", "5"));
const AGENTS = optionOf("agents", "claude,codex").split(",");
const CALLS = 10;
const DECISIONS = 300;
const KEY = "sk-bench";
const CLI = resolve("packages/runtime/bin/sovereign.js");

/**
 * What Sovereign adds to an agent: the time of a whole task, of each turn with a tool call, of each
 * decision, and of each request and piece of a stream. The same program does the same work by the same
 * script, once by itself and once under the law, in turns.
 */
export async function run(): Promise<BenchReport> {
  const rows: BenchRow[] = [];
  for (const agent of AGENTS) rows.push(...(await compareTasks(agent)));
  rows.push(...(await decisions()));
  const { rows: proxied } = await proxyRun();
  rows.push(...proxied.map((row) => ({ ...row, name: `proxy, ${row.name}` })));
  return { title: `Agents, ${TRIALS} tasks of ${CALLS} tool calls each way, milliseconds`, rows };
}

function optionOf(name: string, usual: string): string {
  const found = process.argv.find((word) => word.startsWith(`--${name}=`));
  return found?.slice(name.length + 3) ?? usual;
}

/** A scripted task, and the instants at which its model was asked. */
class Task {
  readonly model: ScriptedModel;
  readonly #gaps: number[] = [];
  #turns: ScriptedTurn[] = [];
  #last: number | null = null;

  private constructor(model: ScriptedModel) {
    this.model = model;
  }

  static async start(): Promise<Task> {
    const started: { task: Task | null } = { task: null };
    const script = (): ScriptedTurn => started.task?.next() ?? { text: "done" };
    const task = new Task(await ScriptedModel.start({ key: KEY, script }));
    started.task = task;
    return task;
  }

  next(): ScriptedTurn {
    const now = performance.now();
    if (this.#last !== null) this.#gaps.push(now - this.#last);
    this.#last = now;
    return this.#turns.shift() ?? { text: "done" };
  }

  /** @returns the time of all of it, and of each turn */
  async time(
    turns: readonly ScriptedTurn[],
    work: () => Promise<void>,
  ): Promise<[number, number[]]> {
    this.#turns = [...turns];
    this.#last = null;
    this.#gaps.length = 0;
    const start = performance.now();
    await work();
    const took = performance.now() - start;
    if (this.#gaps.length < turns.length) throw new Error("the agent did not do its task");
    return [took, [...this.#gaps]];
  }
}

async function compareTasks(agent: string): Promise<BenchRow[]> {
  const dialect = DIALECTS[agent];
  if (dialect === undefined) throw new Error(`no dialect of ${agent}`);
  const folder = mkdtempSync(join(tmpdir(), "bench-agent-"));
  const task = await Task.start();
  const turns = [
    ...Array.from({ length: CALLS - 1 }, () => dialect.shell("cat a.txt")),
    dialect.shell("echo b >b.txt"),
  ];
  const times = { alone: [] as number[], under: [] as number[] };
  const gaps = { alone: [] as number[], under: [] as number[] };
  try {
    await addVendor(join(folder, "data"), task.model.url, dialect);
    for (let trial = -1; trial < TRIALS; trial++) {
      const alone = await task.time(turns, () => workAlone(agent, folder, trial, task.model.url));
      const under = await task.time(turns, () => workUnder(agent, folder, trial));
      // The first of each fills caches, and makes the database and the keys.
      if (trial < 0) continue;
      times.alone.push(alone[0]);
      times.under.push(under[0]);
      gaps.alone.push(...alone[1]);
      gaps.under.push(...under[1]);
    }
  } finally {
    await task.model.close();
    await stopServer(join(folder, "data"));
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
  return [
    ...pair(`${agent}, a task`, times.alone, times.under),
    ...pair(`${agent}, a turn with a tool call`, gaps.alone, gaps.under),
  ];
}

function pair(name: string, alone: readonly number[], under: readonly number[]): BenchRow[] {
  const [one, other] = [quantiles(alone), quantiles(under)];
  const values = { samples: alone.length };
  return [
    { name: `${name}: alone`, values: { p50: round(one.p50), p99: round(one.p99), ...values } },
    {
      name: `${name}: Sovereign`,
      values: {
        ...{ p50: round(other.p50), p99: round(other.p99), ...values },
        ...{ "p50 added": round(other.p50 - one.p50) },
      },
    },
  ];
}

async function addVendor(home: string, url: string, { vendor }: Dialect): Promise<void> {
  mkdirSync(home, { mode: 0o700 });
  const about = { name: "scripted", baseUrl: url, price: null, key: KEY };
  const vendors = new VendorStore(join(home, "models"), null);
  await vendors.add({ ...about, ...vendor }, "2026-01-01T00:00:00.000Z", false);
}

/** A database server that a command started ends with the last of them; one that is left is not ours. */
async function stopServer(home: string): Promise<void> {
  const installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
  await installation.close();
}

/** A fresh repository for each, of one file. */
function repositoryIn(folder: string, name: string): string {
  const root = join(folder, name);
  mkdirSync(root);
  writeFileSync(join(root, "a.txt"), "a\n");
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  const git = (...words: string[]): Buffer =>
    execFileSync("git", [...identity, ...words], { cwd: root });
  git("init", "-q", "-b", "main");
  git("add", "-A");
  git("commit", "-q", "-m", "base");
  return root;
}

function workUnder(agent: string, folder: string, trial: number): Promise<void> {
  const root = repositoryIn(folder, `under${trial}`);
  const env = {
    PATH: process.env["PATH"],
    HOME: folder,
    SOVEREIGN_HOME: join(folder, "data"),
    SOVEREIGN_AGENTS: agentsFolder(process.env),
  };
  const words = [CLI, "agent", "run", agent, "Do it", "--repo", root, "--json"];
  return finish([process.execPath, ...words], root, env, "");
}

/** The program by itself: no sandbox, no hooks, no proxy, and leave for everything. */
function workAlone(agent: string, folder: string, trial: number, url: string): Promise<void> {
  const root = repositoryIn(folder, `alone${trial}`);
  const home = join(folder, `home${trial}`);
  mkdirSync(home);
  const adapter = adapterOf(agent) as InstalledAgent;
  const { path } = findProgram(adapter, agentsFolder(process.env));
  const task = { prompt: "Do it", model: adapter.defaultModel, token: KEY, command: [] };
  const tools = ["Bash", "Read", "Write", "Edit"];
  const { argv, env, stdin, files } = adapter.prepare({ ...task, tools });
  const [, ...words] = argv;
  const ours = /http:\/\/127\.0\.0\.1:\d+/g;
  for (const [file, text] of Object.entries(files)) {
    if (!file.endsWith("config.toml")) continue;
    const config = join(home, "config.toml");
    mkdirSync(dirname(config), { recursive: true });
    writeFileSync(config, text.replace(ours, url));
  }
  const free = agent === "claude" ? ["--dangerously-skip-permissions"] : [];
  const kept = words.filter((word) => word !== "--ignore-user-config");
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) own[name] = value.replace(ours, url);
  const places = { CLAUDE_CONFIG_DIR: home, CODEX_HOME: home, TMPDIR: folder, HOME: home };
  const all = { PATH: process.env["PATH"], ...own, ...places, IS_SANDBOX: "1" };
  return finish([path, ...free, ...kept], root, all, stdin);
}

function finish(
  [program = "", ...words]: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
  stdin: string,
): Promise<void> {
  return new Promise((end, fail) => {
    const child = spawn(program, words, { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    child.stdout.on("data", (part) => (said += String(part)));
    child.stderr.on("data", (part) => (said += String(part)));
    child.on("error", fail);
    child.on("close", (code) => {
      if (code === 0) end();
      else fail(new Error(`${program} ended with ${String(code)}: ${said.slice(-2000)}`));
    });
    child.stdin.end(stdin);
  });
}

const POLICY = `
policy_id: bench
schema_version: 1.0.0
agent: { tools: { Bash: judge } }
allowlist: { commands: [{ id: list, executable: ls, allowed_args: ["-l"] }] }
`;

/** A tool call as the kernel takes it: decided, durable, and its end durable, on the embedded database. */
async function decisions(): Promise<BenchRow[]> {
  const home = mkdtempSync(join(tmpdir(), "bench-agent-"));
  const installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
  try {
    const { keyLog, keystore } = installation;
    await keyLog.initialise(keystore, [...INSTALLATION_KEYS, { purpose: "role", role: "agent" }]);
    const session = await createAgentSession({
      ...{ installation, tenantId: "bench", name: "bench", role: "agent", approvers: [] },
      policy: parsePolicy(utf8Encode(POLICY), "policy.yaml"),
      ...{ allowCompatible: false, signal: new AbortController().signal },
      onProgress: () => undefined,
    });
    const ask = { type: "command.run", resource: "ls", params: { argv: ["-l"] } };
    const [decided, ended]: [number[], number[]] = [[], []];
    for (let call = -20; call < DECISIONS; call++) {
      const start = performance.now();
      const asked = await session.ask("Bash", { command: "ls -l" }, [ask]);
      const between = performance.now();
      if (!asked.allowed) throw new Error(asked.reason);
      await asked.ended("");
      if (call < 0) continue;
      decided.push(between - start);
      ended.push(performance.now() - between);
    }
    await session.end();
    return [row("decision on a tool call, durable", decided), row("its end, durable", ended)];
  } finally {
    await installation.close();
    rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

function row(name: string, samples: readonly number[]): BenchRow {
  const { p50, p99 } = quantiles(samples);
  return { name, values: { p50: round(p50), p99: round(p99), samples: samples.length } };
}
