import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CliEnd, Installation, type Json, runEnded } from "./cli.ts";

const POLICY = resolve("examples/exec/policy.json");
const DENY = resolve("examples/exec/policy_deny.json");
const REQUEST = resolve("examples/exec/request.json");
const GATES_OF_A_SUCCESS = [
  "EX-A",
  "EX-C",
  "EX-D",
  "EX-E",
  "EX-H",
  "R2",
  "R3",
  "R4",
  "P0-N2",
  "P-G",
];

let installation: Installation;
let repo: string;
let count = 0;
beforeAll(() => {
  installation = new Installation({ processes: "one" });
});
afterAll(async () => {
  await installation.dispose();
});
beforeEach(() => {
  count += 1;
  repo = join(installation.home, `repo-${count}`);
  mkdirSync(repo);
  git("init", "-q", "-b", "main");
  writeFileSync(join(repo, "README.md"), "# Mine\n");
  git("add", "-A");
  git("commit", "-q", "-m", "base");
});

function git(...args: string[]): string {
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  return execFileSync("git", [...identity, ...args], { cwd: repo, encoding: "utf8" }).trimEnd();
}

/** The documents of an execution; the run's id and evidence are in the last. */
async function exec(
  request: string,
  policy: string,
  ...more: string[]
): Promise<{ code: number | null; end: ReturnType<typeof runEnded> }> {
  const args = ["exec", "run", "--policy", policy, "--request", request, "--repo", repo];
  const { code, documents } = await installation.json([...args, ...more]);
  return { code, end: runEnded(documents) };
}

async function gates(
  run: string,
): Promise<{ code: number | null; verdicts: Record<string, string> }> {
  const { code, documents } = await installation.json(["gates", "run", run]);
  const results = documents[0]?.["results"] as { gate: string; verdict: string }[];
  return { code, verdicts: Object.fromEntries(results.map((one) => [one.gate, one.verdict])) };
}

function passing(verdicts: Record<string, string>): string[] {
  return Object.keys(verdicts).filter((gate) => verdicts[gate] === "pass");
}

/** The example request with something else in it. */
function variant(name: string, edit: (request: Json) => void): string {
  const request = JSON.parse(readFileSync(REQUEST, "utf8")) as Json;
  edit(request);
  const path = join(installation.home, `${name}.json`);
  writeFileSync(path, JSON.stringify(request));
  return path;
}

describe("an execution", () => {
  it("makes six commits with evidence that verifies, and goes back again", async () => {
    writeFileSync(join(repo, "mine.txt"), "not committed\n");
    const base = git("rev-parse", "HEAD");
    const plan = await installation.run([
      "exec",
      "plan",
      "--policy",
      POLICY,
      "--request",
      REQUEST,
      "--repo",
      repo,
    ]);
    expect(plan).toMatchObject({ code: 0 });
    expect(plan.out).toContain("command:test");
    const { code, end } = await exec(REQUEST, POLICY);
    expect(code).toBe(0);
    expect(end).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(git("log", "--format=%s", `${base}..HEAD`).split("\n")).toHaveLength(6);
    expect(git("status", "--porcelain")).toBe("?? mine.txt");

    const judged = await gates(end.run);
    expect(judged.code).toBe(0);
    expect(passing(judged.verdicts)).toEqual(GATES_OF_A_SUCCESS);

    const evidence = ["--bundle", end.bundle, "--trust", end.trust_root, "--repo"];
    const custody = await installation.json(["exec", "custody", ...evidence, repo]);
    expect(custody.code).toBe(0);
    const steps = custody.documents[0]?.["steps"] as Json[];
    expect(steps.at(-1)).toMatchObject({ name: "repository_custody", status: "PASS", passed: 7 });
    const where = Object.values(steps.at(-1)?.["details"] as Json).map(String);
    expect(where.filter((one) => one.endsWith(" on refs/heads/main"))).toHaveLength(6);
    const elsewhere = await installation.run(["exec", "custody", ...evidence, "."]);
    expect(elsewhere.code).toBe(4);
    expect(elsewhere.out).toContain("ERR_GIT_OBJECT_MISSING");

    // What somebody removed of it is made again, by whoever asks.
    expect(git("for-each-ref", "refs/sovereign")).toBe("");
    rmSync(join(repo, ".git/objects/pack"), { recursive: true });
    expect(() => git("log")).toThrow(/bad object|missing|not a valid|does not exist/);
    const status = await installation.json(["exec", "status", end.run]);
    expect(status.documents[0]).toMatchObject({ place: "at result", recovery: "none" });
    expect(git("log", "--format=%s", `${base}..HEAD`).split("\n")).toHaveLength(6);
    const back = await installation.json(["exec", "rollback", end.run]);
    expect(back.code).toBe(0);
    const proved = { event: "rollback.proved", run: end.run, base, kept: [] };
    expect(back.documents).toContainEqual(expect.objectContaining(proved));
    const undone = runEnded(back.documents);
    expect(undone.verdict).toBe("VALID");
    expect(git("rev-parse", "HEAD")).toBe(base);
    expect(git("status", "--porcelain")).toBe("?? mine.txt");
    expect(passing((await gates(undone.run)).verdicts)).toEqual(["EX-F"]);
    const after = await installation.run(["verify", ...evidence, repo]);
    expect(after).toMatchObject({ code: 0 });
    expect(after.out.match(/was on refs\/heads\/main, now on no branch/g)).toHaveLength(6);
    const trust = ["--trust", undone.trust_root, "--repo", repo];
    const way = await installation.run(["verify", "--bundle", undone.bundle, ...trust]);
    expect(way.out).toMatch(/base [0-9a-f]{12} on refs\/heads\/main/);
    expect(way.out).toMatch(/files 1 by SHA-256, 1 of them in the work tree/);
    expect(way.code).toBe(0);

    // A stop right after the bundle keeps the rollback from letting its ref go: whoever asks does it.
    const left = join(installation.home, "runs", end.run, "rollback");
    mkdirSync(left);
    writeFileSync(join(left, "run"), undone.run);
    git("update-ref", `refs/sovereign/${end.run}/rolled-back`, "HEAD");
    await installation.json(["exec", "status", end.run]);
    expect(git("for-each-ref", "refs/sovereign")).toBe("");
    expect(existsSync(left)).toBe(false);

    const again = await installation.run(["exec", "rollback", end.run]);
    expect(again.err).toContain("ERR_ROLLBACK_NOTHING");
  });

  it("is not rolled back over what the user committed since, whichever branch is checked out", async () => {
    const { end } = await exec(REQUEST, POLICY);
    const brought = git("rev-parse", "HEAD");
    writeFileSync(join(repo, "mine.txt"), "mine\n");
    git("add", "mine.txt");
    git("commit", "-qm", "mine");
    const mine = git("rev-parse", "HEAD");
    const refused = await installation.run(["exec", "rollback", end.run]);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toContain("ERR_REPOSITORY_MOVED");
    expect(refused.err).toMatch(/git revert [0-9a-f]{12}\.\.[0-9a-f]{12}/);
    expect(git("rev-parse", "HEAD")).toBe(mine);
    expect(readFileSync(join(repo, "mine.txt"), "utf8")).toBe("mine\n");

    git("checkout", "-q", "-b", "other", brought);
    const otherBranch = await installation.run(["exec", "rollback", end.run]);
    expect(otherBranch.err).toContain("ERR_REPOSITORY_MOVED");
    expect(git("rev-parse", "other", "main")).toBe(`${brought}\n${mine}`);

    git("checkout", "-q", "main");
    git("reset", "-q", "--hard", brought);
    expect(await installation.run(["exec", "rollback", end.run])).toMatchObject({ code: 0 });
  });

  it("that policy denies exits 3, says so, and leaves everything as it was", async () => {
    const base = git("rev-parse", "HEAD");
    const args = ["exec", "run", "--policy", DENY, "--request", REQUEST, "--repo", repo];
    const ended: CliEnd = await installation.run(args);
    expect(ended.code).toBe(3);
    expect(ended.err).toContain("policy violation");
    // The reason is said once, whoever reads both.
    expect(`${ended.out}${ended.err}`.split("no rule allows")).toHaveLength(2);
    const run = /run_[a-z0-9]{20}/.exec(ended.out)?.[0] ?? "";
    const tape = readFileSync(join(installation.home, "runs", run, "audit/run_tape.jsonl"), "utf8");
    expect(tape).toContain('"event":"operation_refused"');
    expect(passing((await gates(run)).verdicts)).toEqual(["EX-A", "EX-E", "EX-H", "R1", "R3"]);
    expect(ended.out).toContain("verdict: VALID");
    expect(git("rev-parse", "HEAD")).toBe(base);
    expect(git("status", "--porcelain")).toBe("");
    const back = await installation.run(["exec", "rollback", run]);
    expect(back.err).toContain("ERR_ROLLBACK_NOTHING");
  });

  it("whose action nobody defined is denied, which gate P0-N1 sees", async () => {
    const request = variant("unknown", (one) => {
      const steps = (one["patch_plan"] as { steps: { operations: Json[] }[] }).steps;
      steps[0]?.operations.unshift({ op_id: "launch", action: "launch_rocket", params: {} });
    });
    const { code, end } = await exec(request, POLICY);
    expect({ code, reason: end.code }).toEqual({ code: 3, reason: "ERR_ACTION_UNKNOWN" });
    expect((await gates(end.run)).verdicts).toMatchObject({ "P0-N1": "pass", R1: "pass" });
  });

  it("that changes what hosts run needs the policy's leave, which plan, run and gate tell", async () => {
    const ci = ".github/workflows/ci.yml";
    const request = variant("workflow", (one) => {
      const steps = (one["patch_plan"] as { steps: { operations: Json[] }[] }).steps;
      const params = { path: ci, content: "on: push\n" };
      steps[0]?.operations.unshift({ op_id: "flow", action: "write_file", params });
    });
    const policyOf = (name: string, ci_paths: readonly string[]): string => {
      const policy = JSON.parse(readFileSync(POLICY, "utf8")) as { allowlist: Json };
      policy.allowlist["paths"] = ["**"];
      policy.allowlist["ci_paths"] = ci_paths;
      const path = join(installation.home, `${name}.json`);
      writeFileSync(path, JSON.stringify(policy));
      return path;
    };
    const without = policyOf("no-leave", []);
    const files = ["--policy", without, "--request", request, "--repo", repo];
    const plan = await installation.run(["exec", "plan", ...files]);
    expect(plan.code).toBe(3);
    expect(plan.out).toMatch(/step_01\.flow +deny .*allowlist\.ci_paths/);
    const refused = await exec(request, without);
    expect({ code: refused.code, reason: refused.end.code }).toEqual({
      code: 3,
      reason: "ERR_CI_FILE_REFUSED",
    });
    const { code, end } = await exec(request, policyOf("leave", [ci]));
    expect({ code, verdict: end.verdict }).toEqual({ code: 0, verdict: "VALID" });
    expect((await gates(end.run)).verdicts).toMatchObject({ "EX-A": "pass" });
    expect(readFileSync(join(repo, ci), "utf8")).toBe("on: push\n");
  });

  it("whose command fails brings nothing back", async () => {
    const base = git("rev-parse", "HEAD");
    const request = variant("failing", (one) => {
      const text = JSON.stringify(one["patch_plan"]).replace("1, 2, 3]), 6", "1, 2, 3]), 7");
      one["patch_plan"] = JSON.parse(text) as Json;
    });
    const { code, end } = await exec(request, POLICY);
    expect({ code, reason: end.code }).toEqual({ code: 1, reason: "ERR_COMMAND_FAILED" });
    expect(end.verdict).toBe("VALID");
    expect(git("rev-parse", "HEAD")).toBe(base);
    expect(git("status", "--porcelain")).toBe("");
  });

  it("that requires review waits for it, and then comes back", async () => {
    const base = git("rev-parse", "HEAD");
    const home = new Installation();
    const request = variant("reviewed", (one) => {
      one["requires_review"] = true;
    });
    const args = ["exec", "run", "--policy", POLICY, "--request", request, "--repo", repo];
    const waits = await home.json(args);
    expect(waits.code).toBe(3);
    const { run, status } = runEnded(waits.documents);
    expect(status).toBe("pending");
    expect(git("rev-parse", "HEAD")).toBe(base);
    expect(await home.run(["run", "approve", run, "--as", "reviewer"])).toMatchObject({ code: 0 });
    const resumed = await home.json(["exec", "resume", run]);
    expect(runEnded(resumed.documents)).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(git("rev-list", "--count", `${base}..HEAD`)).toBe("6");
    const judged = await home.json(["gates", "run", run]);
    expect(judged.code).toBe(0);
    const results = judged.documents[0]?.["results"] as Json[];
    expect(results.find((one) => one["gate"] === "EX-G")).toMatchObject({ verdict: "pass" });
    await home.dispose();
  });

  it("with open questions is blocked, until they are answered with what they rest on", async () => {
    const request = variant("asking", (one) => {
      one["question_pack"] = {
        question_pack_id: "qpack_one",
        questions: [
          { question_id: "q_one", type: "blocker", blocking_level: "blocking", question: "Which?" },
        ],
        policy_constraints: { execution_mode: "interactive", question_budget: 1 },
      };
    });
    const { code, end } = await exec(request, POLICY);
    expect({ code, reason: end.code }).toEqual({ code: 3, reason: "ERR_REQUEST_BLOCKED" });
    expect(end).toMatchObject({ reason: "1 blocking question is open. q_one: Which?" });
    expect((await gates(end.run)).verdicts).toMatchObject({ A1: "pass" });
    const out = join(installation.home, "answers.json");
    await installation.run(["answers", "create", end.run, "--out", out]);
    const refused = await installation.run(["answers", "apply", end.run, out]);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toContain("ERR_ANSWERS_INVALID");
    const pack = JSON.parse(readFileSync(out, "utf8")) as { answers: Json[] };
    pack.answers[0]!["evidence_refs"] = ["README.md"];
    writeFileSync(out, JSON.stringify(pack));
    expect(await installation.run(["answers", "apply", end.run, out])).toMatchObject({ code: 0 });
    const resumed = await installation.json(["exec", "resume", end.run]);
    expect(runEnded(resumed.documents)).toMatchObject({ status: "completed", verdict: "VALID" });
    const after = await gates(end.run);
    expect(after.code).toBe(0);
    expect(after.verdicts).toMatchObject({
      A1: "not_applicable",
      A2: "pass",
      A3: "pass",
      R4: "pass",
    });
  });

  it.each([
    [["exec", "run", "--request", REQUEST], 2],
    [["exec", "run", "--policy", "none.json", "--request", REQUEST], 2],
    [["exec", "run", "--policy", POLICY, "--request", REQUEST, "--repo", "/"], 2],
    [["exec", "status", "run_x"], 2],
    [["exec", "status", "run_x", "--wait", "soon"], 2],
    [["gates", "run", "run_x"], 2],
    [["gates", "list"], 0],
    [["gates", "explain", "ex-d"], 0],
    [["gates", "explain", "EX-Z"], 2],
  ])("answers %j with exit code %i", async (args, code) => {
    expect(await installation.run(args)).toMatchObject({ code });
  });

  it("waits for another on the same repository, or says that it is there", async () => {
    const lock = join(repo, ".git/sovereign.lock");
    const holder = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)"]);
    const stat = readFileSync(`/proc/${holder.pid ?? 0}/stat`, "utf8");
    const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const space = `${hostname()}/${boot}/${readlinkSync("/proc/self/ns/pid")}`;
    writeFileSync(lock, `${holder.pid ?? 0} ${started} ${space} run_other\n`);
    const args = ["exec", "run", "--policy", DENY, "--request", REQUEST, "--repo", repo];
    const refused = await installation.run(args);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("ERR_REPOSITORY_BUSY");
    setTimeout(() => holder.kill("SIGKILL"), 1500);
    const waited = await installation.run([...args, "--wait", "30"]);
    expect(waited.code).toBe(3);
    expect(existsSync(lock)).toBe(false);
  });

  it("refuses a mode that may not commit", async () => {
    const request = variant("planning", (one) => {
      one["mode_id"] = "planning";
    });
    const args = ["exec", "run", "--policy", POLICY, "--request", request, "--repo", repo];
    const { code, err } = await installation.run(args);
    expect(code).toBe(3);
    expect(err).toContain("ERR_REQUEST_MODE");
  });
});
