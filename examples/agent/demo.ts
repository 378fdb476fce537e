/**
 * Has a real coding agent mend a repository, offline: the model is scripted, everything else is what a
 * user has. `npm run agents:install` gets the programs, once. Its first word is the agent's name, `claude`
 * without it; more words name the parts that are shown.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import pg from "pg";
import { VendorStore } from "../../packages/runtime/src/agents/index.ts";
import { agentsFolder } from "../../packages/runtime/src/services/agents/agents-folder.ts";
import {
  ownerConfig,
  startEmbedded,
  stopEmbedded,
} from "../../packages/runtime/src/store/embedded.ts";
import { DIALECTS } from "./dialects.ts";
import { ScriptedModel, type ScriptedTurn } from "./scripted-model.ts";

const [name = "claude", ...wanted] = process.argv.slice(2);
const dialect = DIALECTS[name];
if (dialect === undefined) {
  throw new Error(`expected an agent of: ${Object.keys(DIALECTS).join(", ")}; found ${name}`);
}
const { agent, read, edit, write, shell } = dialect;

const BIN = resolve("packages/runtime/bin");
const KEY = "sk-of-the-vendor";
const folder = mkdtempSync(join(tmpdir(), "agent-demo-"));
const home = join(folder, "data");
const repo = join(folder, "repo");
const environment = {
  PATH: process.env["PATH"] ?? "",
  HOME: homedir(),
  SOVEREIGN_HOME: home,
  SOVEREIGN_AGENTS: agentsFolder(process.env),
};

let turns: ScriptedTurn[] = [];
let asked = 0;
/** Done once, when the model is asked next. */
let meanwhile: () => void = () => undefined;

interface Ended {
  readonly code: number | null;
  readonly out: string;
}

const children = new Set<ChildProcess>();

function start(program: string, words: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [program, ...words], {
    cwd: repo,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  let out = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (part: Buffer) => {
      out += String(part);
      process.stdout.write(String(part).replace(/^(?=.)/gm, "    "));
    });
  }
  return new Promise((done) => {
    child.on("close", (code) => {
      children.delete(child);
      done({ code, out });
    });
  });
}

function sovereign(...words: string[]): Promise<Ended> {
  console.log(
    `\n  $ sovereign ${words.map((word) => (word.includes(" ") ? `"${word}"` : word)).join(" ")}`,
  );
  return start(join(BIN, "sovereign.js"), words);
}

function git(...words: string[]): string {
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  return execFileSync("git", [...identity, ...words], { cwd: repo, encoding: "utf8" }).trimEnd();
}

const problems: string[] = [];
function expect(holds: boolean, text: string): void {
  console.log(`  ${holds ? "holds" : "DOES NOT HOLD"}: ${text}`);
  if (!holds) problems.push(text);
}

/** Whether a process of a sandbox lives that sees something of this demo's folder. */
function isAnythingAlive(): boolean {
  return readdirSync("/proc").some((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/mountinfo`, "utf8").includes(`/${basename(folder)}/`);
    } catch {
      return false;
    }
  });
}

const SUBTRACTS = "export const add = (a, b) => a - b;";
const ADDS = "export const add = (a, b) => a + b;";

function makeRepository(): void {
  mkdirSync(join(repo, "test"), { recursive: true });
  mkdirSync(join(repo, "src"));
  writeFileSync(join(repo, "src/add.js"), `${SUBTRACTS}\n`);
  writeFileSync(
    join(repo, "test/add.test.js"),
    'import assert from "node:assert";\nimport { test } from "node:test";\nimport { add } from "../src/add.js";\n\ntest("adds", () => assert.equal(add(2, 3), 5));\n',
  );
  writeFileSync(join(repo, "package.json"), '{ "type": "module" }\n');
  git("init", "-q", "-b", "main");
  git("add", "-A");
  git("commit", "-q", "-m", "A test fails");
}

function runOf({ out }: Ended): string {
  return /run_[a-z2-7]{20}/.exec(out)?.[0] ?? "";
}

/** What the gates of tools say of a run, one letter for each that passes or fails. */
async function gatesOf(run: string): Promise<{ readonly pass: string; readonly fail: string }> {
  const { out } = await sovereign("gates", "run", run);
  const said = [...out.matchAll(/^TL-([A-F]) +(\w+)/gm)];
  const letters = (verdict: string): string =>
    said.flatMap(([, letter = "", found]) => (found === verdict ? letter : [])).join("");
  return { pass: letters("pass"), fail: letters("fail") };
}

async function mend(): Promise<void> {
  console.log("\n1. An agent mends a failing test");
  turns = [
    { text: "I run the test first.", ...shell("node --test") },
    read("src/add.js"),
    edit("src/add.js", SUBTRACTS, ADDS),
    shell("node --test"),
    { text: "add() subtracted. It adds now, and the test passes." },
  ];
  const head = git("rev-parse", "HEAD");
  const task = "Fix the failing test";
  const words = ["--verify", "node --test", "--scope", "src", "--review"];
  const worked = await sovereign("agent", "run", agent, task, ...words);
  const run = runOf(worked);
  expect(worked.code === 0, "the agent came to a result");
  expect(git("rev-parse", "HEAD") === head, "the user's branch has not moved");
  expect(git("branch", "--list", `sovereign/${run}`) !== "", `it waits on sovereign/${run}`);
  await sovereign("agent", "diff", run);
  const { code: waits } = await checked(run, "waiting.json");
  expect(waits === 1, "while it waits, its pack is true, and its review is open (exit 1)");
  const applied = await sovereign("agent", "apply", run, "--approver", "reviewer");
  expect(applied.code === 0, "it was brought back");
  expect(git("show", "HEAD:src/add.js").includes("a + b"), "the branch has the change");
  const bundle = join(home, "runs", run, "compliance_bundle.json");
  const trust = join(home, "runs", run, "trust-root.json");
  console.log("\n  $ sovereign-verify --bundle … --trust … --repo .");
  const verifier = resolve(BIN, "../../verify/bin/sovereign-verify.js");
  const verified = await start(verifier, [
    `--bundle=${bundle}`,
    `--trust=${trust}`,
    `--repo=${repo}`,
  ]);
  expect(
    verified.code === 0 && verified.out.includes("VALID"),
    "the evidence is VALID with --repo",
  );
  expect((await gatesOf(run)).pass === "ABCDEF", "the gates TL-A to TL-F pass");
  await packs(run);
}

/** Collect the result pack of a run into a file, and hold it against its task and the repository. */
async function checked(run: string, name: string): Promise<Ended> {
  await sovereign("tool", "collect", run, "--out", join(folder, name));
  return sovereign("tool", "verify", join(folder, name), "--task", taskOf(run));
}

function taskOf(run: string): string {
  return join(home, "runs", run, "01_intent", "tool_task_pack.json");
}

/** What came of the work, as a file, which somebody then changes. */
async function packs(run: string): Promise<void> {
  const looked = await checked(run, "result.json");
  expect(looked.code === 0, "the result pack is TRUE");
  const file = join(folder, "result.json");
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace('"files_modified":["src/add.js"]', '"files_modified":[]'));
  const lied = await sovereign("tool", "verify", file, "--task", taskOf(run));
  expect(lied.code === 4, "a result pack that lies is FALSE (exit 4)");
}

async function deny(): Promise<void> {
  console.log("\n2. An edit that policy forbids");
  turns = [write(".github/workflows/ci.yml", "on: push")];
  const head = git("rev-parse", "HEAD");
  const ended = await sovereign("agent", "run", agent, "Add a workflow");
  expect(ended.code === 3, "the run ended as denied (exit 3)");
  expect(git("rev-parse", "HEAD") === head && git("status", "--short") === "", "nothing changed");
  expect((await gatesOf(runOf(ended))).fail === "DE", "the gates TL-D and TL-E fail");
}

async function budget(): Promise<void> {
  console.log("\n3. A budget that does not cover the first call");
  turns = [{ text: "never said" }];
  asked = 0;
  const ended = await sovereign("agent", "run", agent, "Think hard", "--budget", "0.01");
  expect(ended.code === 3, "the run ended as denied (exit 3)");
  const words = /ERR_MODEL_BUDGET.*needs \$[\d.]+.*is left.*--budget DOLLARS/s;
  expect(words.test(ended.out), "it says what was needed, what is left, and what to type");
  expect(asked === 0, "the vendor was never asked");
}

async function discard(): Promise<void> {
  console.log("\n4. A result that nobody wants");
  turns = [read("src/add.js"), edit("src/add.js", ADDS, "export const add = (a, b) => b + a;")];
  const given = join(folder, "task.json");
  await sovereign("tool", "pack", agent, "Turn it round", "--review", "--out", given);
  const run = runOf(await sovereign("tool", "dispatch", given));
  const task = taskOf(run);
  writeFileSync(task, readFileSync(task, "utf8").replace("Turn it round", "Do as you like"));
  const discarded = await sovereign("agent", "discard", run, "--json");
  expect(discarded.out.includes("ERR_AGENT_DISCARDED"), "it was discarded");
  expect(git("branch", "--list", "sovereign/*") === "", "no branch of it is left");
  const log = await sovereign("agent", "log", run);
  expect(log.out.includes("agent.tool_call Edit"), "its evidence is kept");
  const { fail } = await gatesOf(run);
  expect(fail === "AF", "the gates TL-A (another task on disk) and TL-F (no approval) fail");
}

async function touch(): Promise<void> {
  console.log("\n5. An agent that changes nothing, while something else writes to the repository");
  turns = [{ text: "There is nothing to do." }];
  meanwhile = () => {
    writeFileSync(join(repo, "src/add.js"), "export const add = () => 5;\n");
  };
  const ended = await sovereign("agent", "run", agent, "Look at it");
  git("checkout", "-q", "--", "src/add.js");
  const { fail } = await gatesOf(runOf(ended));
  expect(fail === "BC", "the gates TL-B (no direct write) and TL-C (evidence) fail");
}

const ENDLESS: ScriptedTurn = { text: "x".repeat(60_000), pieces: 60_000, delayMs: 5 };
const TWO_KEYS = ["--operator-key", "alice", "--architect-key", "bob"];

async function stop(turn: ScriptedTurn, isThere: (said: string) => boolean): Promise<void> {
  // An agent whose model may go on while a command runs gets no answer to that.
  turns = [turn, ENDLESS];
  asked = 0;
  const head = git("rev-parse", "HEAD");
  const work = sovereign("agent", "run", agent, "Wait for ever");
  let said = "";
  for (const child of children) child.stderr?.on("data", (part) => (said += String(part)));
  while (!isThere(said) && children.size > 0) {
    await new Promise((next) => setTimeout(next, 50));
  }
  expect(isAnythingAlive(), "the agent is at work");
  const reason = ["--reason", "operator_initiated"];
  const stopped = await sovereign("scram", "activate", ...TWO_KEYS, ...reason);
  const ended = await work;
  expect(stopped.code === 0, "the stop was carried out");
  expect(ended.code === 5, "the run ended by the kill switch (exit 5)");
  expect(!isAnythingAlive(), "nothing of the agent lives");
  expect(git("rev-parse", "HEAD") === head && git("status", "--short") === "", "nothing changed");
}

async function stops(): Promise<void> {
  await sovereign("keys", "add", "--operator", "alice", "--architect", "bob");
  console.log("\n6. Two keys stop it in the middle of a tool call");
  const waits = shell("node -e 'setTimeout(() => {}, 300000)'");
  await stop(waits, (said) => said.includes("allowed Bash"));
  const reset = await sovereign("scram", "reset", ...TWO_KEYS, "--reason", "the demo goes on");
  expect(reset.code === 0, "the kill switch was reset");
  console.log("\n7. Two keys stop it in the middle of an answer");
  await stop(ENDLESS, () => asked > 0);
}

/** The database server stays between commands: else each starts it, and stops it again. */
async function keepServer(): Promise<() => Promise<void>> {
  const place = join(home, "postgres");
  const target = await startEmbedded(place);
  const client = new pg.Client(ownerConfig(target));
  client.on("error", () => undefined);
  await client.connect();
  return async () => {
    await client.end();
    await stopEmbedded(target, place);
  };
}

const model = await ScriptedModel.start({
  key: KEY,
  script: () => {
    asked += 1;
    meanwhile();
    meanwhile = () => undefined;
    return turns.shift() ?? { text: "done" };
  },
});
let stopServer: () => Promise<void> = () => Promise.resolve();
try {
  makeRepository();
  const vendors = new VendorStore(join(home, "models"), null);
  mkdirSync(home, { mode: 0o700 });
  const about = { name: "scripted", baseUrl: model.url, price: null, key: KEY };
  const vendor = { ...about, ...dialect.vendor };
  await vendors.add(vendor, "2026-01-01T00:00:00.000Z", false);
  stopServer = await keepServer();
  const parts = { mend, deny, budget, discard, touch, stop: stops };
  for (const [part, show] of Object.entries(parts)) {
    if (wanted.length === 0 || wanted.includes(part)) await show();
  }
} finally {
  await model.close();
  for (const child of children) child.kill("SIGKILL");
  await stopServer();
  rmSync(folder, { recursive: true, force: true });
}
console.log(
  problems.length === 0 ? "\nAll of it holds." : `\nDoes not hold: ${problems.join("; ")}`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
