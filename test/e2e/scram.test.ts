import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { endOf, Installation, type Json, untilPaths, writeLongBatch } from "./cli.ts";

let installation: Installation;
let folder: string;
let batch: string;
beforeEach(async () => {
  installation = new Installation({ processes: "one" });
  folder = mkdtempSync(join(tmpdir(), "sov-scram-"));
  batch = writeLongBatch(folder);
  await installation.run([
    ...["keys", "init", "--role", "runner"],
    ...["--operator", "alice", "--operator", "carol", "--architect", "bob"],
  ]);
});
afterEach(async () => {
  await installation.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const BOTH = ["--operator-key", "alice", "--architect-key", "bob"];

async function one(args: readonly string[]): Promise<{ code: number | null; found: Json }> {
  const { code, documents } = await installation.json(args);
  return { code, found: documents.at(-1) ?? {} };
}

describe("two people at a terminal", () => {
  it("stop everything while the main process is wedged and the database is down", async () => {
    const control = installation.start(["batch", "run", batch]);
    const ended = endOf(control);
    await untilPaths(installation, 1);
    control.kill("SIGSTOP");
    const postmaster = join(installation.home, "postgres/data/postmaster.pid");
    process.kill(Number(readFileSync(postmaster, "utf8").split("\n")[0]), "SIGKILL");

    const { code, found } = await one([
      "scram",
      "activate",
      ...BOTH,
      "--reason",
      "security_breach",
    ]);
    expect(code).toBe(0);
    const { event, receipt, envelope } = found as { event: Json; receipt: Json; envelope: Json };
    expect(event).toMatchObject({ scram_state: "COMPLETE", execution_paths_terminated: 1 });
    expect(receipt).toMatchObject({ authorized: true, stragglers: [] });
    expect(envelope).toHaveProperty("signatures");
    control.kill("SIGKILL");
    await ended;

    // The database returns, and the event is in the ledger.
    const out = join(folder, "audit.jsonl");
    const audit = ["audit", "export", "--log", "installation", "--out", out];
    expect((await installation.run(audit)).code).toBe(0);
    const lines = readFileSync(out, "utf8").trim().split("\n");
    const events = lines.map((line) => JSON.parse(line) as { entry: Json });
    const stop = events
      .map(({ entry }) => entry)
      .find((entry) => entry["event_type"] === "scram.executed");
    const stream: unknown = expect.stringMatching(/^scram\/nod_/);
    expect(stop).toMatchObject({ stream, severity: "CRITICAL", data: { event } });

    expect((await one(["batch", "run", batch])).code).toBe(5);
    const reset = await one(["scram", "reset", ...BOTH, "--reason", "found and fixed"]);
    expect(reset).toMatchObject({ code: 0, found: { state: "ARMED" } });
  });

  it("stop one run, and the other goes on", async () => {
    const first = endOf(installation.start(["batch", "run", batch, "--json"]));
    await untilPaths(installation, 1);
    const runs = await installation.json(["run", "list"]);
    const run = String(runs.documents[0]?.["run"]);
    const { found } = await one(["scram", "activate", ...BOTH, "--scope", `run:${run}`]);
    expect(found).toMatchObject({ event: { scram_state: "COMPLETE" } });
    expect((await first).code).toBe(5);
    const other = await one(["batch", "run", resolve("examples/batch/batch.yaml")]);
    expect(other.found).toMatchObject({ status: "BATCH_COMMITTED" });
    expect((await one(["scram", "status"])).code).toBe(5);
  });

  it("authorise one after the other", async () => {
    const first = await one(["scram", "authorize", "--operator-key", "alice"]);
    expect(first).toMatchObject({ code: 0, found: { kind: "pending", missing: "architect" } });
    const second = await one(["scram", "authorize", "--architect-key", "bob"]);
    expect(second).toMatchObject({ code: 0, found: { event: { scram_state: "COMPLETE" } } });
  });

  it("set off an order that they signed before, without a start of Node", async () => {
    const order = join(folder, "order.json");
    expect((await one(["scram", "prepare", ...BOTH, "--out", order])).code).toBe(0);
    const running = endOf(installation.start(["batch", "run", batch]));
    await untilPaths(installation, 1);
    const env = { PATH: process.env["PATH"], SOVEREIGN_HOME: installation.home };
    const script = resolve("packages/runtime/bin/scram");
    const end = spawnSync("/bin/sh", [script, "--order", order], { env, encoding: "utf8" });
    expect(end).toMatchObject({ status: 0, stderr: "" });
    expect(end.stdout).toContain("COMPLETE: verified dead after");
    expect((await running).code).toBe(5);
    const log = await installation.json(["scram", "log"]);
    const executed = log.documents.find((line) => line["event"] === "scram.executed");
    expect(executed).toMatchObject({ data: { event: { invariants_failed: ["INV-SCRAM-003"] } } });
  });
});

describe("a call while nothing runs", () => {
  it("is in force at once for every command, and what is refused starts nothing", async () => {
    const env = { PATH: process.env["PATH"], SOVEREIGN_HOME: installation.home };
    spawnSync("/bin/sh", [resolve("packages/runtime/bin/scram")], { env });
    const status = await one(["scram", "status"]);
    expect(status).toMatchObject({ code: 5, found: { state: "EXECUTING", sentinel: null } });
    expect((await one(["health"])).code).toBe(5);
    for (const words of [
      ["batch", "run", batch],
      ["run", "pipeline.yaml"],
      ["run", "resume", `run_${"a".repeat(20)}`],
      ["exec", "rollback", `run_${"a".repeat(20)}`],
    ]) {
      const { code, found } = await one(words);
      expect(found).toMatchObject({ error: { code: "ERR_SCRAM_TRIPPED" } });
      expect((found["error"] as Json)["message"]).toContain("sovereign scram reset");
      expect(code).toBe(5);
    }
    // None of them started anything: the call still waits.
    expect((await one(["scram", "status"])).found).toMatchObject({ sentinel: null });
    const reset = await one(["scram", "reset", ...BOTH, "--reason", "a rehearsal"]);
    expect(reset).toMatchObject({ code: 0, found: { state: "ARMED" } });
  });
});

describe("an order that is not as it should be", () => {
  it.each([
    [
      "two operators",
      ["--operator-key", "alice", "--architect-key", "carol"],
      1,
      "ERR_KEY_NOT_FOUND",
    ],
    [
      "an unknown key",
      ["--operator-key", "nobody", "--architect-key", "bob"],
      1,
      "ERR_KEY_NOT_FOUND",
    ],
    ["an unknown reason", [...BOTH, "--reason", "boredom"], 2, null],
    ["an unknown scope", [...BOTH, "--scope", "planet:mars"], 2, null],
    ["one key", ["--operator-key", "alice"], 2, null],
  ])("with %s never leaves the command", async (_, flags, exit, error) => {
    const { code, found } = await one(["scram", "activate", ...flags]);
    if (error === null) expect(code).toBe(exit);
    else expect(found).toMatchObject({ error: { code: error } });
    expect((await one(["scram", "status"])).found).toMatchObject({ state: "ARMED" });
  });

  it("by a revoked key stops everything, and is recorded as not authorised", async () => {
    const keys = await installation.json(["scram", "keys"]);
    const alice = keys.documents.find((key) => key["holder"] === "alice");
    await installation.run(["keys", "revoke", String(alice?.["key_id"]), "--reason", "lost"]);
    const { code, found } = await one(["scram", "activate", ...BOTH]);
    expect(code).toBe(3);
    expect(found).toMatchObject({
      receipt: { authorized: false, trigger: "refused_order" },
      event: { scram_state: "COMPLETE" },
    });
    const reset = await one(["scram", "reset", ...BOTH, "--reason", "hm"]);
    expect(reset).toMatchObject({ code: 3, found: { error: { code: "ERR_SCRAM_ORDER_KEY" } } });
  });

  it.runIf(process.getuid?.() !== 0)(
    "a data folder that cannot be written runs nothing",
    async () => {
      chmodSync(join(installation.home, "scram"), 0o500);
      const { code, found } = await one(["batch", "run", batch]);
      expect(code).toBe(1);
      expect(found).toMatchObject({ error: { code: "ERR_SCRAM_SENTINEL_START" } });
      chmodSync(join(installation.home, "scram"), 0o700);
    },
  );
});
