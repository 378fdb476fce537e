import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SovereignRunner } from "../../packages/runtime/src/services/index.ts";
import { endOf, Installation, type Json } from "./cli.ts";
import { killAt } from "./kill-at-entry.ts";

let installation: Installation;
let folder: string;
beforeAll(() => {
  installation = new Installation({ processes: "one" });
  folder = mkdtempSync(join(tmpdir(), "sov-batch-"));
  const commands = [
    { id: "echo", executable: "echo", allowed_args: ["*"] },
    { id: "sleep", executable: "sleep", allowed_args: ["*"] },
    { id: "false", executable: "false", allowed_args: [] },
    { id: "shell", executable: "sh", allowed_args: ["-c", "seq *"] },
  ];
  const policy = { policy_id: "batch", schema_version: "1.0.0", allowlist: { commands } };
  writeFileSync(join(folder, "policy.json"), JSON.stringify(policy));
});
afterAll(async () => {
  await installation.dispose();
  rmSync(folder, { recursive: true, force: true });
});

interface Report {
  readonly runId: string;
  readonly status: string;
  readonly code: string | null;
  readonly actions: readonly { id: string; state: string; code: string | null }[];
  readonly bundle: string;
  readonly trustRoot: string;
}

function write(name: string, actions: readonly Json[], more: Json = {}): string {
  const batch = {
    schema_version: "1.0.0",
    batch_id: name,
    policy: "policy.json",
    actions,
    ...more,
  };
  const path = join(folder, `${name}.json`);
  writeFileSync(path, JSON.stringify(batch));
  return path;
}

async function run(path: string): Promise<{ code: number | null; report: Report }> {
  const { code, documents } = await installation.json(["batch", "run", path]);
  return { code, report: documents.at(-1) as unknown as Report };
}

/** Whether a process with exactly this command line runs: the payload, and none that starts it. */
function isRunning(...words: string[]): boolean {
  const wanted = words.map((word) => `${word}\0`).join("");
  return readdirSync("/proc").some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8") === wanted;
    } catch {
      return false;
    }
  });
}

const states = ({ actions }: Report): string[] => actions.map(({ state }) => state);
const verdictOf = ({ bundle, trustRoot }: Report): string =>
  verifyBundle(readFileSync(bundle), { trustRoot: readFileSync(trustRoot) }).verdict;

describe("a batch", () => {
  it("of the example is committed, and its evidence verifies", async () => {
    const { code, report } = await run(resolve("examples/batch/batch.yaml"));
    expect(code).toBe(0);
    expect(report.status).toBe("BATCH_COMMITTED");
    expect(states(report)).toEqual(["completed", "completed", "completed"]);
    expect(verdictOf(report)).toBe("VALID");
  });

  it("stops at the first action that fails, or that policy denies", async () => {
    const failing = await run(
      write("failing", [
        { id: "one", argv: ["echo", "1"] },
        { id: "two", argv: ["sh", "-c", "seq 100; echo why >&2; exit 3"] },
        { id: "three", argv: ["echo", "3"] },
      ]),
    );
    expect(failing.code).toBe(1);
    expect(failing.report).toMatchObject({ status: "BATCH_FAILED", code: "ERR_PROGRAM_FAILED" });
    expect(states(failing.report)).toEqual(["completed", "failed", "not_started"]);
    expect(verdictOf(failing.report)).toBe("VALID");
    const log = await installation.json(["runs", "log", failing.report.runId, "--step", "two"]);
    const text = `${Array.from({ length: 100 }, (_, at) => at + 1).join("\n")}\nwhy\n`;
    expect(log.documents[0]).toMatchObject({ step: "two", text });
    const denied = await run(write("denied", [{ id: "one", argv: ["cat", "/etc/passwd"] }]));
    expect(denied.code).toBe(3);
    expect(denied.report).toMatchObject({ status: "BATCH_FAILED", code: "ERR_POLICY_DENIED" });
    expect(states(denied.report)).toEqual(["refused"]);
    expect(verdictOf(denied.report)).toBe("VALID");
  });

  it.each<[string, readonly Json[], Json]>([
    ["an unknown field", [{ id: "a", argv: ["echo"] }], { extra: 1 }],
    [
      "two actions of one id",
      [
        { id: "a", argv: ["echo"] },
        { id: "a", argv: ["echo"] },
      ],
      {},
    ],
    ["no action", [], {}],
    ["nested metadata", [{ id: "a", argv: ["echo"] }], { metadata: { a: { b: 1 } } }],
    ["an input folder that is missing", [{ id: "a", argv: ["echo"] }], { input: "nowhere" }],
  ])("is refused with %s", async (_, actions, more) => {
    const { code, documents } = await installation.json([
      "batch",
      "run",
      write("bad", actions, more),
    ]);
    expect(code).toBe(2);
    expect(documents.at(-1)).toMatchObject({ error: { code: "ERR_BATCH_INVALID" } });
  });

  it("that was killed is gone on with: what is done is not done again", async () => {
    const path = write("killed", [
      { id: "first", argv: ["echo", "done"] },
      { id: "second", argv: ["sleep", "3.0625"] },
      { id: "third", argv: ["echo", "last"] },
    ]);
    const running = installation.start(["batch", "run", path]);
    while (!isRunning("sleep", "3.0625")) await sleep(20);
    running.kill("SIGKILL");
    const listed = await installation.json(["runs", "list", "--kind", "batch", "--limit", "1"]);
    expect(listed.documents).toMatchObject([{ kind: "batch", name: "killed", status: "running" }]);
    const id = String(listed.documents[0]?.["run"]);
    // Later edits of the files change nothing of a run that has begun.
    writeFileSync(path, "{}");
    const resumed = await installation.json(["run", "resume", id]);
    expect(resumed).toMatchObject({ code: 0 });
    expect(resumed.documents.at(-1)).toMatchObject({ status: "completed", verdict: "VALID" });
    const { documents } = await installation.json(["runs", "show", id]);
    expect(documents).toMatchObject([
      {
        run: id,
        kind: "batch",
        status: "completed",
        steps: [
          { step: "first", status: "completed", attempt: 1 },
          { step: "second", status: "completed", attempt: 2 },
          { step: "third", status: "completed", attempt: 1 },
        ],
        next: null,
      },
    ]);
    expect((await installation.json(["run", "resume", id])).code).toBe(2);
  });

  describe("that was killed once an action had failed", () => {
    const actions = [
      { id: "first", argv: ["echo", "done"] },
      { id: "second", argv: ["false"] },
      { id: "third", argv: ["echo", "last"] },
    ];
    const kill = async (name: string): Promise<string> => {
      const path = write(name, actions);
      await endOf(installation.start(["batch", "run", path], killAt("execution.failed")));
      const { documents } = await installation.json(["runs", "list", "--limit", "1"]);
      expect(documents).toMatchObject([{ name, status: "running" }]);
      return String(documents[0]?.["run"]);
    };
    const stepsOf = async (id: string): Promise<unknown> =>
      (await installation.json(["runs", "show", id])).documents[0]?.["steps"];

    it("is sealed as failed, and the action is not tried again", async () => {
      const id = await kill("failed-once");
      const resumed = await installation.json(["run", "resume", id]);
      expect(resumed.code).toBe(1);
      const failed = { status: "failed", code: "ERR_PROGRAM_FAILED", verdict: "VALID" };
      expect(resumed.documents.at(-1)).toMatchObject(failed);
      expect(await stepsOf(id)).toMatchObject([
        { step: "first", status: "completed", attempt: 1 },
        { step: "second", status: "failed", attempt: 1 },
      ]);
      const late = await installation.json(["run", "resume", id, "--retry-failed"]);
      expect(late).toMatchObject({ code: 2, documents: [{ error: { code: "ERR_RUN_SEALED" } }] });
    });

    it("tries it again where that is asked for, as another attempt", async () => {
      const id = await kill("failed-twice");
      const resumed = await installation.json(["run", "resume", id, "--retry-failed"]);
      expect(resumed.documents.at(-1)).toMatchObject({ status: "failed", verdict: "VALID" });
      expect(await stepsOf(id)).toMatchObject([
        { step: "first", status: "completed", attempt: 1 },
        { step: "second", status: "failed", attempt: 2 },
      ]);
    });
  });

  it("RUNNER-01: says what was done, killed and never begun when the switch trips", async () => {
    const path = write("long", [
      { id: "first", argv: ["echo", "done"] },
      { id: "second", argv: ["sleep", "600.125"] },
      { id: "third", argv: ["echo", "never"] },
    ]);
    const running = endOf(installation.start(["batch", "run", path, "--json"]));
    while (!isRunning("sleep", "600.125")) await sleep(50);
    const stop = spawn("/bin/sh", [resolve("packages/runtime/bin/scram")], {
      env: { PATH: process.env["PATH"], SOVEREIGN_HOME: installation.home },
      stdio: "ignore",
    });
    expect(await new Promise((end) => stop.on("close", end))).toBe(0);
    const { code, out } = await running;
    expect(code).toBe(5);
    const report = JSON.parse(out.trim().split("\n").at(-1) ?? "") as Report;
    expect(report).toMatchObject({ status: "SCRAM_ABORT", code: "ERR_SCRAM_TRIPPED" });
    expect(states(report)).toEqual(["completed", "killed", "not_started"]);
    expect(verdictOf(report)).toBe("VALID");
    const again = await run(path);
    expect(again.code).toBe(5);
    expect(again.report).toMatchObject({ error: { code: "ERR_SCRAM_TRIPPED" } });
    const health = await installation.json(["health"]);
    expect(health).toMatchObject({
      code: 5,
      documents: [
        {
          runner_status: "HALTED",
          scram_state: "COMPLETE",
          scram_armed: false,
          scram_active: false,
          scram_complete: true,
          reason: "operator_initiated",
        },
      ],
    });
  });

  it("RUNNER-03: a state that cannot be had is one in which nothing runs", async () => {
    const health = await SovereignRunner.healthCheck(() => Promise.reject(new Error("gone")));
    expect(health).toMatchObject({
      runner_status: "UNAVAILABLE",
      scram_state: "UNKNOWN",
      scram_armed: false,
    });
    const broken = new Installation();
    mkdirSync(join(broken.home, "scram"), { recursive: true, mode: 0o700 });
    writeFileSync(join(broken.home, "scram", "LATCH"), "scribble");
    expect(await broken.json(["health"])).toMatchObject({
      code: 5,
      documents: [{ runner_status: "HALTED", scram_state: "FAILED" }],
    });
    await broken.dispose();
  });
});
