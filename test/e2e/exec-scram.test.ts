import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOf, Installation } from "./cli.ts";

const POLICY = {
  policy_id: "slow",
  schema_version: "1.0.0",
  allowed_git_operations: ["git_commit"],
  allowlist: {
    file_operations: ["write_file"],
    paths: ["**"],
    commands: [{ id: "sleep", executable: "sleep", allowed_args: ["?"] }],
  },
};
const REQUEST = {
  exec_request_id: "exec_req_slow_01",
  schema_version: "1.0.0",
  created_at: "2026-01-01T00:00:00Z",
  patch_plan: {
    steps: [
      {
        step_id: "step_01",
        operations: [{ op_id: "file", action: "write_file", params: { path: "a", content: "a" } }],
      },
      {
        step_id: "step_02",
        operations: Array.from({ length: 9 }, (_, index) => ({
          op_id: `sleep_${index}`,
          action: "command",
          params: { argv: ["sleep", "9"] },
        })),
      },
    ],
  },
};

let installation: Installation;
let repo: string;
beforeAll(() => {
  installation = new Installation({ processes: "one" });
  repo = join(installation.home, "repo");
  mkdirSync(repo);
  git("init", "-q", "-b", "main");
  git("commit", "-q", "--allow-empty", "-m", "base");
});
afterAll(async () => {
  await installation.dispose();
});

function git(...args: string[]): string {
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  return execFileSync("git", [...identity, ...args], { cwd: repo, encoding: "utf8" }).trimEnd();
}

/** The tape of the one run, as far as it is written. */
function tape(): string {
  const runs = join(installation.home, "runs");
  const [run = ""] = existsSync(runs) ? readdirSync(runs) : [];
  const path = join(runs, run, "audit/run_tape.jsonl");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

describe("a stop while an execution's command runs", () => {
  it("kills it at once, leaves the repository untouched, and lets nothing start", async () => {
    const file = (name: string, value: object): string => {
      const path = join(installation.home, name);
      writeFileSync(path, JSON.stringify(value));
      return path;
    };
    const policy = file("policy.json", POLICY);
    const request = file("request.json", REQUEST);
    // The first execution makes the keys; the safety officers' are added after it.
    const denied = file("denied.json", { ...POLICY, allowlist: {} });
    const args = (rules: string): string[] => {
      return ["exec", "run", "--policy", rules, "--request", request, "--repo", repo];
    };
    const first = await installation.run(args(denied));
    expect(first.code).toBe(3);
    execFileSync("rm", ["-r", join(installation.home, "runs")]);
    await installation.run(["keys", "add", "--operator", "alice", "--architect", "bob"]);

    const base = git("rev-parse", "HEAD");
    const running = installation.start(args(policy));
    const ended = endOf(running);
    for (let waited = 0; !tape().includes('"op_id":"sleep_0"') && waited < 30_000; waited += 20) {
      await sleep(20);
    }
    const keys = ["--operator-key", "alice", "--architect-key", "bob"];
    const stopped = await installation.json(["scram", "activate", ...keys]);
    expect(stopped.documents[0]).toMatchObject({ event: { scram_state: "COMPLETE" } });
    const { code, out } = await ended;
    expect(code).not.toBe(0);
    // Killed before its time: it would have ended by itself with this on the tape.
    expect(tape()).not.toMatch(
      /"op_id":"sleep_0"[^\n]*"event":"operation_end"|operation_end[^\n]*sleep_0/,
    );
    expect(out).toContain("verdict: VALID");
    expect(tape()).toContain('"event":"operation_refused"');
    expect(git("rev-parse", "HEAD")).toBe(base);
    expect(git("status", "--porcelain")).toBe("");
    expect(existsSync(join(repo, ".git/index.lock"))).toBe(false);
    expect(await installation.run(args(policy))).toMatchObject({ code: 5 });
    expect(git("rev-parse", "HEAD")).toBe(base);
  });
});
