import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  endOf,
  type Installation,
  type Json,
  runEnded,
  untilPaths,
  writeLongBatch,
} from "./cli.ts";
import { ok, TwoMachines } from "./two-machines.ts";

const PIPELINE = resolve("examples/iron-path/pipeline.yaml");
const APPROVE = ["--approve", "release_manager", "--approve", "safety_officer"];
const ROLES = [
  "auditor",
  "coordinator",
  "data_engineer",
  "deployer",
  "executor",
  "oversight",
  "planner",
  "trainer",
  "validator",
];
const BOTH = ["--operator-key", "alice", "--architect-key", "bob"];

const machines = new TwoMachines();
const { a, b, place } = machines;
const batch = writeLongBatch(place.home);
beforeAll(() => machines.start());
afterAll(() => machines.dispose());

function lines(text: string): Json[] {
  const whole = text.split("\n").filter((line) => line !== "");
  return whole.map((line) => JSON.parse(line) as Json);
}

describe("two machines of one installation, at their terminals", { timeout: 300_000 }, () => {
  it("join, are stopped by one order, tell it alike, and are reset one by one", async () => {
    const slots = ["runner", ...ROLES].flatMap((role) => ["--role", role]);
    for (const one of ["release_manager", "safety_officer"]) slots.push("--approver", one);
    await ok(
      a,
      ["keys", "init", ...slots, "--operator", "alice", "--architect", "bob"],
      machines.near,
    );
    const file = join(place.home, "installation.json");
    await ok(a, ["nodes", "export", file], machines.near);
    // Its own file of that name holds more, and stays.
    const own = join(a.home, "installation.json");
    const held = readFileSync(own);
    const over = await a.run(["nodes", "export", own], machines.near);
    expect([over.code, over.err]).toEqual([2, expect.stringContaining("ERR_FILE_UNWRITABLE")]);
    expect(readFileSync(own)).toEqual(held);
    await ok(b, ["nodes", "join", file], machines.far);
    expect(statSync(join(b.home, "keys")).mode & 0o777).toBe(0o700);
    cpSync(join(a.home, "keys"), join(b.home, "keys"), { recursive: true });
    expect((await b.run(["nodes", "join", file], machines.far)).err).toContain("ERR_NODE_EXISTS");

    const running = endOf(b.start(["batch", "run", batch, "--json"], machines.far));
    await untilPaths(b, 1);
    const stop = await a.run(["scram", "activate", ...BOTH], machines.near);
    expect(stop.code).toBe(0);
    expect(stop.err).toContain("in the shared ledger");
    const ended = await running;
    expect(ended.code).toBe(5);
    const [report] = lines(ended.out).slice(-1) as [Json];
    expect(report).toMatchObject({ status: "SCRAM_ABORT", code: "ERR_SCRAM_TRIPPED" });
    const trustRoot = readFileSync(report["trustRoot"] as string);
    const found = verifyBundle(readFileSync(report["bundle"] as string), { trustRoot });
    expect(found.verdict).toBe("VALID");

    const nodes = lines((await ok(a, ["nodes", "list", "--json"], machines.near)).out);
    expect(nodes.map(({ here, stops }) => [here, (stops as unknown[]).length])).toEqual([
      [true, 1],
      [false, 1],
    ]);
    const audit = join(place.home, "audit.jsonl");
    await ok(a, ["audit", "export", "--log", "installation", "--out", audit], machines.near);
    const bin = resolve("packages/verify/bin/sovereign-verify.js");
    const verified = spawnSync(process.execPath, [bin, "audit", audit], { encoding: "utf8" });
    // Without a checkpoint and a trust root it can only be said that the file holds together.
    expect(verified).toMatchObject({ status: 4, stderr: "" });
    expect(verified.stdout).toContain("CONSISTENT");

    const reset = ["scram", "reset", ...BOTH, "--reason", "looked into"];
    expect((await a.run(reset, machines.near)).out).toContain("ARMED");
    expect((await b.run(["scram", "status"], machines.far)).code).toBe(5);
    await ok(b, reset, machines.far);
    await ok(b, ["scram", "status"], machines.far);
  });

  it("hear of each other although nothing runs there", async () => {
    const watching = b.start(["nodes", "watch", "--json"], machines.far);
    const ended = endOf(watching);
    await new Promise((told) => watching.stdout?.once("data", told));
    const [node] = lines((await ok(a, ["nodes", "list", "--json"], machines.near)).out).slice(
      -1,
    ) as [Json];
    expect(node).toMatchObject({ here: false, watching: 1, stops: [] });
    const order = ["scram", "activate", ...BOTH, "--scope", "tenant:acme"];
    await ok(a, order, machines.near);
    await untilStops(b, 1);
    watching.kill("SIGINT");
    expect((await ended).code).toBe(0);
    const reset = ["scram", "reset", ...BOTH, "--reason", "looked into"];
    for (const [one, env] of [
      [a, machines.near],
      [b, machines.far],
    ] as const)
      await ok(one, reset, env);
  });

  it("say why work was killed on the one that was cut off", async () => {
    const running = endOf(b.start(["batch", "run", batch, "--json"], machines.far));
    await untilPaths(b, 1);
    machines.proxy.cut("refused");
    const { code, out } = await running;
    machines.proxy.heal();
    expect(lines(out).at(-1)).toMatchObject({ error: { code: "ERR_SCRAM_LEASE", exit: 5 } });
    expect(code).toBe(5);
    await ok(b, ["scram", "status"], machines.far);
  });

  it("resume what the lease killed: nothing is ended by it", async () => {
    const repo = repository();
    const flags = ["--policy", POLICY, "--request", REQUEST, "--repo", repo, "--json"];
    const child = b.start(["exec", "run", ...flags], machines.far);
    const ended = endOf(child);
    await untilPaths(b, 1);
    // A control that does not go on renews nothing; the sentinel does not need it.
    child.kill("SIGSTOP");
    await untilPaths(b, 0);
    child.kill("SIGCONT");
    const { out, code } = await ended;
    expect(lines(out).at(-1)).toMatchObject({ status: "pending", code: "ERR_SCRAM_LEASE" });
    expect(code).toBe(5);
    const run = lines(out).at(-1)?.["run"] as string;
    const resumed = await ok(b, ["exec", "resume", run, "--json"], machines.far);
    expect(runEnded(lines(resumed.out))).toMatchObject({ status: "completed", verdict: "VALID" });
  });

  it("resume what was cut off when the database is back", async () => {
    const child = b.start(["run", PIPELINE, ...APPROVE, "--json"], machines.far);
    child.stdout?.on("data", (chunk) => {
      if (String(chunk).includes("run.started")) machines.proxy.cut("refused");
    });
    const end = await endOf(child);
    expect([1, 5]).toContain(end.code);
    machines.proxy.heal();
    const run = lines(end.out).find(({ event }) => event === "run.started")?.["run"] as string;
    const resumed = await b.run(["run", "resume", run, ...APPROVE, "--json"], machines.far);
    expect(runEnded(lines(resumed.out))).toMatchObject({ status: "completed", verdict: "VALID" });
  });
});

const POLICY = join(place.home, "exec-policy.json");
const REQUEST = join(place.home, "exec-request.json");

/** With a request to it that sleeps for longer than the lease lasts. */
function repository(): string {
  const commands = [{ id: "sleep", executable: "sleep", allowed_args: ["?"] }];
  const allowlist = { file_operations: ["write_file"], paths: ["**"], commands };
  const git = ["git_commit"];
  const policy = {
    policy_id: "slow",
    schema_version: "1.0.0",
    allowed_git_operations: git,
    allowlist,
  };
  writeFileSync(POLICY, JSON.stringify(policy));
  const operations = [
    { op_id: "file", action: "write_file", params: { path: "a", content: "a" } },
    { op_id: "sleep", action: "command", params: { argv: ["sleep", "9"] } },
  ];
  const request = {
    exec_request_id: "exec_req_slow_01",
    schema_version: "1.0.0",
    created_at: "2026-01-01T00:00:00Z",
    patch_plan: { steps: [{ step_id: "step_01", operations }] },
  };
  writeFileSync(REQUEST, JSON.stringify(request));
  const repo = join(place.home, "repo");
  mkdirSync(repo);
  const user = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  const commit = [...user, "commit", "-q", "--allow-empty", "-m", "base"];
  for (const args of [["init", "-q", "-b", "main"], commit]) {
    execFileSync("git", args, { cwd: repo });
  }
  return repo;
}

async function untilStops(one: Installation, stops: number): Promise<void> {
  for (let waited = 0; waited < 60_000; waited += 100) {
    const { documents } = await one.json(["scram", "status"]);
    if ((documents.at(-1)?.["stops"] as unknown[]).length === stops) return;
    await sleep(100);
  }
  throw new Error("it was not stopped");
}
