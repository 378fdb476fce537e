import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { difference, endOf, KillRig, lookAt, OFFICERS } from "../../bench/exec-kill-rig.ts";

let rig: KillRig;
beforeAll(async () => {
  rig = new KillRig();
  await rig.cli("keys", "init", "--role", "executor", "--operator", "alice", "--architect", "bob");
});
afterAll(async () => {
  expect(await rig.survivors(20_000)).toEqual([]);
  rig.dispose();
});

type Document = Record<string, unknown>;

async function last(...words: string[]): Promise<Document & { exit: number | null }> {
  const { code, documents } = await rig.cli(...words);
  return { ...documents.at(-1), exit: code };
}

async function until(there: () => boolean): Promise<void> {
  for (let waited = 0; !there(); waited += 10) {
    if (waited > 60_000) throw new Error("it did not come");
    await sleep(10);
  }
}

/** A request of one step, instead of the rig's own. */
function request(name: string, script: string, more: Document = {}): string[] {
  const operation = { op_id: "sh", action: "command", params: { argv: ["sh", "-c", script] } };
  const path = join(rig.folder, `${name}.json`);
  const value = {
    exec_request_id: "exec_req_outside_01",
    schema_version: "1.0.0",
    created_at: "2026-01-01T00:00:00Z",
    patch_plan: { steps: [{ step_id: "step_01", operations: [operation] }] },
    ...more,
  };
  writeFileSync(path, JSON.stringify(value));
  return ["exec", "run", "--policy", join(rig.folder, "policy.json"), "--request", path, "--json"];
}

const ASKING = {
  question_pack: {
    question_pack_id: "qpack_one",
    questions: [
      { question_id: "q_one", type: "blocker", blocking_level: "blocking", question: "Which?" },
    ],
    policy_constraints: { execution_mode: "interactive", question_budget: 1 },
  },
};

describe("a run that was killed before its first entry", () => {
  const lockOf = (root: string): string => join(root, ".git/sovereign.lock");

  /** It has the repository, and nothing else yet. */
  async function killBefore(): Promise<string> {
    const root = rig.repository();
    const known = rig.runs();
    const control = rig.start(rig.runArguments(root));
    const ended = endOf(control);
    while (!existsSync(lockOf(root)) && control.exitCode === null) await sleep(1);
    control.kill("SIGKILL");
    await ended;
    expect(existsSync(lockOf(root))).toBe(true);
    expect(rig.runs().filter((one) => !known.includes(one))).toEqual([]);
    return root;
  }

  it("holds up neither the user's git nor the next run", async () => {
    const root = await killBefore();
    const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
    execFileSync("git", [...identity, "commit", "-q", "-m", "mine"], { cwd: root });
    const run = await last(...rig.runArguments(root));
    expect(run).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(existsSync(lockOf(root))).toBe(false);
    const back = await last("exec", "rollback", String(run["run"]));
    expect(back).toMatchObject({ status: "completed" });
  });

  it.each(["plan", "status", "resume"])("is rid of its lock by exec %s", async (word) => {
    const root = await killBefore();
    const lock = readFileSync(lockOf(root));
    if (word === "plan") {
      const files = request("harmless", "true").slice(2);
      expect(await rig.cli("exec", "plan", ...files, "--repo", root)).toMatchObject({ code: 0 });
    } else {
      const words = request("asking", "true", ASKING);
      const { run } = await last(...words, "--repo", root);
      expect(existsSync(lockOf(root))).toBe(false);
      writeFileSync(lockOf(root), lock);
      await rig.cli("exec", word, String(run));
    }
    expect(existsSync(lockOf(root))).toBe(false);
  });
});

describe("a run whose sentinel is killed", () => {
  it("is left open, and goes on under the next one", async () => {
    const root = rig.repository();
    const words = request("slow", "sleep 2; mkdir made; echo x > made/x");
    const known = rig.runs();
    const ended = endOf(rig.start([...words, "--repo", root]));
    const tape = (): string => {
      const run = rig.runs().find((one) => !known.includes(one)) ?? "none";
      return rig.runFile(run, "audit/run_tape.jsonl") ?? "";
    };
    await until(() => tape().includes('"operation_start"'));
    process.kill((await rig.guards())?.pid ?? 0, "SIGKILL");
    const { code, documents } = await ended;
    expect(code).toBe(5);
    const stopped = documents.at(-1);
    expect(stopped).toMatchObject({ status: "pending", code: "ERR_SCRAM_SENTINEL_LOST" });
    const resumed = await last("exec", "resume", String(stopped?.["run"]));
    expect(resumed).toMatchObject({ status: "completed", verdict: "VALID", exit: 0 });
    expect(readFileSync(join(root, "made/x"), "utf8")).toBe("x\n");
  });
});

describe("while the kill switch is tripped", () => {
  it("nothing goes back, goes on or begins; answers wait, and what waited goes on after", async () => {
    const root = rig.repository();
    const base = lookAt(root);
    const done = await last(...rig.runArguments(root));
    expect(done).toMatchObject({ status: "completed" });
    const result = lookAt(root);
    const other = rig.repository();
    const asks = request("asks", "mkdir made; echo x > made/x", ASKING);
    const open = await last(...asks, "--repo", other);
    expect(open).toMatchObject({ status: "pending", code: "ERR_REQUEST_BLOCKED" });
    const untouched = lookAt(other);
    expect(await last("scram", "activate", ...OFFICERS)).toMatchObject({ exit: 0 });

    const run = String(done["run"]);
    const waiting = String(open["run"]);
    const back = await last("exec", "rollback", run);
    expect(back).toMatchObject({ exit: 5, error: { code: "ERR_SCRAM_TRIPPED" } });
    expect(difference(lookAt(root), result)).toEqual([]);

    const answers = join(rig.folder, "answers.json");
    await rig.cli("answers", "create", waiting, "--out", answers);
    const text = readFileSync(answers, "utf8").replace(
      '"evidence_refs": []',
      '"evidence_refs": ["x"]',
    );
    writeFileSync(answers, text);
    expect(await last("answers", "apply", waiting, answers)).toMatchObject({ exit: 0 });
    for (const words of [
      ["exec", "resume"],
      ["run", "resume"],
    ]) {
      const refused = await last(...words, waiting);
      expect(refused).toMatchObject({ exit: 5, error: { code: "ERR_SCRAM_TRIPPED" } });
    }
    expect(await last("exec", "status", waiting)).toMatchObject({ status: "pending", exit: 0 });
    expect(difference(lookAt(other), untouched)).toEqual([]);

    const reset = ["scram", "reset", ...OFFICERS, "--reason", "rehearsed"];
    expect(await last(...reset)).toMatchObject({ state: "ARMED" });
    const resumed = await last("exec", "resume", waiting);
    expect(resumed).toMatchObject({ status: "completed", verdict: "VALID" });
    const undone = await last("exec", "rollback", run);
    expect(undone).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(difference(lookAt(root), base)).toEqual([]);
    rmSync(answers);
  });
});
