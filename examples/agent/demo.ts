/**
 * Has the real Claude Code mend a repository, offline: the model is scripted, everything else is what
 * a user has. `npm run agents:install` gets the program, once.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { VendorStore } from "../../packages/runtime/src/agents/index.ts";
import { agentsFolder } from "../../packages/runtime/src/services/agents/agents-folder.ts";
import { ScriptedModel, type ScriptedTurn } from "./scripted-model.ts";

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

/** No process of any run lives: each would have its run's name in its environment. */
function isAnythingAlive(): boolean {
  const own = new Set([...children].map((one) => one.pid));
  return readdirSync("/proc").some((name) => {
    if (!/^\d+$/.test(name) || own.has(Number(name))) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, "utf8").includes("/agent/claude");
    } catch {
      return false;
    }
  });
}

function makeRepository(): void {
  mkdirSync(join(repo, "test"), { recursive: true });
  mkdirSync(join(repo, "src"));
  writeFileSync(join(repo, "src/add.js"), "export const add = (a, b) => a - b;\n");
  writeFileSync(
    join(repo, "test/add.test.js"),
    'import assert from "node:assert";\nimport { test } from "node:test";\nimport { add } from "../src/add.js";\n\ntest("adds", () => assert.equal(add(2, 3), 5));\n',
  );
  writeFileSync(join(repo, "package.json"), '{ "type": "module" }\n');
  git("init", "-q", "-b", "main");
  git("add", "-A");
  git("commit", "-q", "-m", "A test fails");
}

const edit = (path: string, before: string, after: string): ScriptedTurn => ({
  tools: [
    {
      name: "Edit",
      input: { file_path: `/workspace/${path}`, old_string: before, new_string: after },
    },
  ],
});
const read = (path: string): ScriptedTurn => ({
  tools: [{ name: "Read", input: { file_path: `/workspace/${path}` } }],
});
const bash = (command: string): ScriptedTurn => ({ tools: [{ name: "Bash", input: { command } }] });

function runOf({ out }: Ended): string {
  return /run_[a-z2-7]{20}/.exec(out)?.[0] ?? "";
}

async function mend(): Promise<void> {
  console.log("\n1. An agent mends a failing test");
  turns = [
    { text: "I run the test first.", ...bash("node --test") },
    read("src/add.js"),
    edit("src/add.js", "a - b", "a + b"),
    bash("node --test"),
    { text: "add() subtracted. It adds now, and the test passes." },
  ];
  const head = git("rev-parse", "HEAD");
  const task = "Fix the failing test";
  const worked = await sovereign("agent", "run", "claude", task, "--verify", "node --test");
  const run = runOf(worked);
  expect(worked.code === 0, "the agent came to a result");
  expect(git("rev-parse", "HEAD") === head, "the user's branch has not moved");
  expect(git("branch", "--list", `sovereign/${run}`) !== "", `it waits on sovereign/${run}`);
  await sovereign("agent", "diff", run);
  const applied = await sovereign("agent", "apply", run);
  expect(applied.code === 0, "it was brought back");
  expect(git("show", "HEAD:src/add.js").includes("a + b"), "the branch has the change");
  const bundle = join(home, "runs", run, "compliance_bundle.json");
  const trust = join(home, "runs", run, "trust-root.json");
  console.log("\n  $ sovereign-verify --bundle … --trust … --repo .");
  const verifier = resolve(BIN, "../../verify/bin/sovereign-verify.js");
  const words = [`--bundle=${bundle}`, `--trust=${trust}`, `--repo=${repo}`];
  const verified = await start(verifier, words);
  expect(
    verified.code === 0 && verified.out.includes("VALID"),
    "the evidence is VALID with --repo",
  );
}

async function deny(): Promise<void> {
  console.log("\n2. An edit that policy forbids");
  const path = "/workspace/.github/workflows/ci.yml";
  turns = [{ tools: [{ name: "Write", input: { file_path: path, content: "on: push\n" } }] }];
  const head = git("rev-parse", "HEAD");
  const ended = await sovereign("agent", "run", "claude", "Add a workflow");
  expect(ended.code === 3, "the run ended as denied (exit 3)");
  expect(git("rev-parse", "HEAD") === head && git("status", "--short") === "", "nothing changed");
}

async function budget(): Promise<void> {
  console.log("\n3. A budget that does not cover the first call");
  turns = [{ text: "never said" }];
  asked = 0;
  const ended = await sovereign("agent", "run", "claude", "Think hard", "--budget", "0.01");
  expect(ended.code !== 0, "the run did not come to a result");
  expect(asked === 0, "the vendor was never asked");
}

async function discard(): Promise<void> {
  console.log("\n4. A result that nobody wants");
  turns = [read("src/add.js"), edit("src/add.js", "a + b", "b + a")];
  const run = runOf(await sovereign("agent", "run", "claude", "Turn it round"));
  const discarded = await sovereign("agent", "discard", run, "--json");
  expect(discarded.out.includes("ERR_AGENT_DISCARDED"), "it was discarded");
  expect(git("branch", "--list", "sovereign/*") === "", "no branch of it is left");
  const log = await sovereign("agent", "log", run);
  expect(log.out.includes("agent.tool_call Edit"), "its evidence is kept");
}

async function stop(): Promise<void> {
  console.log("\n5. Two keys stop it in the middle of a tool call");
  const keys = ["--operator", "alice", "--architect", "bob"];
  await sovereign("keys", "add", ...keys);
  turns = [bash("node -e 'setTimeout(() => {}, 300000)'")];
  const head = git("rev-parse", "HEAD");
  const work = sovereign("agent", "run", "claude", "Wait for ever");
  let said = "";
  for (const child of children) child.stderr?.on("data", (part) => (said += String(part)));
  while (!said.includes("allowed Bash") && children.size > 0) {
    await new Promise((next) => setTimeout(next, 50));
  }
  const stopped = await sovereign(
    ...["scram", "activate", "--operator-key", "alice", "--architect-key", "bob"],
    ...["--reason", "operator_initiated"],
  );
  const ended = await work;
  expect(stopped.code === 0, "the stop was carried out");
  expect(ended.code === 5, "the run ended by the kill switch (exit 5)");
  expect(!isAnythingAlive(), "nothing of the agent lives");
  expect(git("rev-parse", "HEAD") === head && git("status", "--short") === "", "nothing changed");
}

const model = await ScriptedModel.start({
  key: KEY,
  script: () => {
    asked += 1;
    return turns.shift() ?? { text: "done" };
  },
});
try {
  makeRepository();
  const vendors = new VendorStore(join(home, "models"), null);
  mkdirSync(home, { mode: 0o700 });
  const about = { name: "scripted", baseUrl: model.url, auth: "x-api-key" } as const;
  const prices = { provider: "anthropic", price: null, outputField: "max_tokens" } as const;
  const vendor = { ...about, ...prices, wires: ["anthropic_messages"] as const, key: KEY };
  await vendors.add(vendor, "2026-01-01T00:00:00.000Z", false);
  await mend();
  await deny();
  await budget();
  await discard();
  await stop();
} finally {
  await model.close();
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
console.log(
  problems.length === 0 ? "\nAll of it holds." : `\nDoes not hold: ${problems.join("; ")}`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
