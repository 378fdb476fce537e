import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliEnd, endOf, Installation, type Json } from "./cli.ts";

let installation: Installation;
let repo: string;
let base: string;
beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  repo = join(installation.home, "repo");
  mkdirSync(repo);
  git("init", "-q", "-b", "main");
  mkdirSync(join(repo, "src"));
  writeFileSync(join(repo, "src/a.txt"), "one\ntwo\nthree\n");
  writeFileSync(join(repo, "src/crlf.txt"), "one\r\ntwo\r\n");
  mkdirSync(join(repo, ".sovereign"));
  writeFileSync(join(repo, ".sovereign/policy.yaml"), POLICY);
  commit("base");
  base = git("rev-parse", "HEAD");
  expect((await installation.run(["policy", "trust", repo])).code).toBe(0);
});
afterAll(async () => {
  await installation.dispose();
});

const POLICY = `policy_id: words
schema_version: "1.0.0"
allowed_git_operations: [git_commit]
allowlist:
  file_operations: [write_file, update_file, patch_file, edit_file, rename_file, mkdir]
  paths: ["src/**"]
  commands:
    - { id: shell, executable: sh, allowed_args: ["-c", "**"] }
    - { id: wait, executable: sleep, allowed_args: ["20"] }
`;

const CLI = resolve("packages/runtime/bin/sovereign.js");

function git(...args: string[]): string {
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  return execFileSync("git", [...identity, ...args], { cwd: repo, encoding: "utf8" }).trimEnd();
}

function commit(message: string): void {
  git("add", "-A");
  git("commit", "-q", "-m", message);
}

/** What was asked for, on the repository as it was. */
async function exec(...args: string[]): Promise<CliEnd & { run: string }> {
  git("reset", "-q", "--hard", base);
  const [word = "", ...rest] = args;
  const end = await installation.run(["exec", word, "--repo", repo, ...rest]);
  return { ...end, run: /run_[a-z0-9]{20}/.exec(end.out)?.[0] ?? "" };
}

describe("exec run -- COMMAND", () => {
  it("that only looks makes no commit, with evidence that every gate and the verifier take", async () => {
    const { code, run, err } = await exec(
      "run",
      "--",
      "sh",
      "-c",
      "test -f src/a.txt && echo fine",
    );
    expect({ code, head: git("rev-parse", "HEAD") }).toEqual({ code: 0, head: base });
    expect(err).toContain("nothing changed, no commit");
    const judged = await installation.json(["gates", "run", run]);
    expect(judged.code).toBe(0);
    const results = judged.documents[0]?.["results"] as Json[];
    const verdicts = Object.fromEntries(
      results.map((one) => [String(one["gate"]), String(one["verdict"])]),
    );
    expect(verdicts).toMatchObject({ "EX-C": "pass", "EX-D": "pass", "EX-E": "pass", R4: "pass" });
    const folder = join(installation.home, "runs", run);
    const result = JSON.parse(readFileSync(join(folder, "execution_result.json"), "utf8")) as Json;
    expect(result).toMatchObject({ steps: [], unchanged_steps: [{ step_id: "step_01" }] });
    const files = ["compliance_bundle.json", "trust-root.json"].map((name) => join(folder, name));
    const [bundle = "", trust = ""] = files;
    const words = ["verify", "--bundle", bundle, "--trust", trust, "--repo", repo];
    const verified = await installation.run(words);
    expect(verified.code).toBe(0);
    expect(verified.out).toContain("it made no commits");
    const shown = await installation.run(["run", "show", run]);
    expect(shown.out).toContain(join(folder, "02_dryrun/exec_request.json"));
    const back = await installation.run(["exec", "rollback", run]);
    expect(back.err).toContain("ERR_ROLLBACK_NOTHING");
  });

  it("that changes files has the user's words as its commit, and its run in a trailer", async () => {
    const { code, run, err } = await exec(
      ...["run", "--message", "Add b\n\nBecause.\nSovereign-Run: run_other"],
      ...["--author", "Ada Lovelace <ada@example.org>"],
      ...["--co-author", "Bob <bob@example.org>", "--", "sh", "-c", "echo b > src/b.txt"],
    );
    expect(code, err).toBe(0);
    expect(git("log", "-1", "--format=%s|%an|%ae|%cn")).toBe(
      "Add b|Ada Lovelace|ada@example.org|Sovereign Executor",
    );
    const trailer = (key: string): string =>
      git("log", "-1", `--format=%(trailers:key=${key},valueonly)`).trim();
    expect(trailer("Sovereign-Run")).toBe(run);
    expect(trailer("Sovereign-Step")).toBe("step_01");
    expect(trailer("Co-authored-by")).toBe("Bob <bob@example.org>");
  });

  it("that fails leaves all that it said, as evidence, and prints the end of it safely", async () => {
    const script = [
      "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done",
      String.raw`printf 'Cannot find module \033[8mX\033[2J\n' >&2; exit 3`,
    ].join("\n");
    const { code, run, err, out } = await exec("run", "--", "sh", "-c", script);
    expect(code).toBe(1);
    const path = join(installation.home, "runs", run, "03_executor/logs/step_01.command.log");
    expect(err).toContain(path);
    expect(err).toContain("| line 199");
    expect(err).not.toContain("| line 170\n");
    const said = readFileSync(path, "utf8");
    expect(said).toMatch(/^line 0\n[^]*line 199\nCannot find module \u001b\[8mX/);
    const log = await installation.run(["runs", "log", run, "--step", "step_01"]);
    expect(log.code).toBe(0);
    expect(log.out.split("\n")).toHaveLength(202);
    for (const text of [err, out, log.out]) expect(text).not.toContain("\u001b");
    expect(log.out).toContain(String.raw`\u{1b}[8mX`);
    const { documents } = await installation.json(["run", "log", run]);
    const bundle = readFileSync(
      join(installation.home, "runs", run, "compliance_bundle.json"),
      "utf8",
    );
    const { artifacts } = JSON.parse(bundle) as { artifacts: Json[] };
    const named = artifacts.find((one) => String(one["name"]).endsWith("step_01.command.log"));
    expect(documents[0]).toMatchObject({ sha256: named?.["sha256"], text: said });
    const other = await installation.run(["runs", "log", run, "--step", "step_02"]);
    expect(other.code).toBe(2);
    expect(other.err).toContain("ERR_LOG_NOT_FOUND");
    writeFileSync(path, "all is well\n");
    const changed = await installation.run(["runs", "log", run]);
    expect(changed).toMatchObject({ code: 4, out: "" });
    expect(changed.err).toContain("ERR_ARTIFACT_CHANGED");
  });

  it.each([
    [["run"], "found neither"],
    [["run", "--request", "x.json", "--", "ls"], "found both"],
    [["run", "--request", "x.json", "--message", "x"], "a request has its own"],
    [["run", "--message", " ", "--", "ls"], "--message"],
    [["run", "--author", "Ada", "--", "ls"], "Name <address>"],
    [["run", "--author", "A\u001b[2J <a@b.c>", "--", "ls"], "Name <address>"],
    [["run", "--policy", "none.yaml", "--", "ls"], "none.yaml"],
    [["apply"], "missing required argument"],
  ])("answers %j with what is expected, and exit code 2", async (args, text) => {
    const { code, err } = await exec(...args);
    expect(code).toBe(2);
    expect(err).toContain(text);
  });

  it("without a policy is refused, and says where one is looked for", async () => {
    git("reset", "-q", "--hard", base);
    const bare = join(installation.home, "bare");
    git("init", "-q", bare);
    git("-C", bare, "commit", "-q", "--allow-empty", "-m", "base");
    const refused = await installation.run(["exec", "run", "--repo", bare, "--", "ls"]);
    expect(refused.code).toBe(2);
    expect(refused.err).toMatch(/\.sovereign\/policy\.yaml" .* sovereign init,.* --policy FILE/);
  });
});

describe("exec apply", () => {
  /** The diff of what an edit of the work tree does, and the tree that it gives. */
  function diffOf(edit: () => void): { file: string; tree: string } {
    git("reset", "-q", "--hard", base);
    git("checkout", "-q", "--detach");
    edit();
    commit("Many kinds\n\nOf change.");
    const file = join(installation.home, "change.patch");
    git("format-patch", "-q", `--output=${file}`, "--binary", "-1");
    const tree = git("rev-parse", "HEAD^{tree}");
    git("checkout", "-q", "main");
    return { file, tree };
  }

  it("brings a mail of every kind of change in from a pipe, to the byte, with its message", async () => {
    const { file, tree } = diffOf(() => {
      git("mv", "src/a.txt", "src/new name.txt");
      writeFileSync(join(repo, "src/new name.txt"), "one\ntwo\nthree\nfour");
      writeFileSync(join(repo, "src/bin.dat"), Buffer.from([0, 1, 255, 0, 10, 13, 10]));
      writeFileSync(join(repo, "src/latin.txt"), Buffer.from("caf\xe9\n", "latin1"));
      writeFileSync(join(repo, "src/crlf.txt"), "one\r\n2\r\n");
      writeFileSync(join(repo, "src/empty"), "");
      writeFileSync(join(repo, "src/é.txt"), "é\n");
      symlinkSync("crlf.txt", join(repo, "src/link"));
      chmodSync(join(repo, "src/crlf.txt"), 0o755);
    });
    git("reset", "-q", "--hard", base);
    const child = spawn(process.execPath, [CLI, "exec", "apply", "-", "--repo", repo], {
      env: { PATH: process.env["PATH"] ?? "", SOVEREIGN_HOME: installation.home },
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin.end(readFileSync(file));
    const { code } = await endOf(child);
    expect({ code, tree: git("rev-parse", "HEAD^{tree}") }).toEqual({ code: 0, tree });
    expect(git("log", "-1", "--format=%s|%b")).toMatch(/^Many kinds\|Of change\.\n/);
  });

  it("refuses what no step may do, as of any request", async () => {
    const file = join(installation.home, "bad.patch");
    writeFileSync(file, "--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n");
    const { code, err, out } = await exec("apply", file);
    expect(code).toBe(3);
    expect(`${err}${out}`.split("../x")).toHaveLength(2);
    expect(git("rev-parse", "HEAD")).toBe(base);
    expect(git("status", "--porcelain")).toBe("");
  });

  it("reads no more of a file than a diff may have, and no pipe that nobody writes", async () => {
    const large = join(installation.home, "large.patch");
    writeFileSync(large, "");
    truncateSync(large, 40 * 1024 * 1024 * 1024);
    const refused = await exec("apply", large);
    rmSync(large);
    expect(refused.code).toBe(2);
    expect(refused.err).toContain("at most 33554432 bytes");
    const pipe = join(installation.home, "pipe");
    execFileSync("mkfifo", [pipe]);
    expect((await exec("apply", pipe)).err).toContain("named pipe");
  });
});

describe("exec resume --approver", () => {
  it("enrols an approver who never had a key and whom the run asks", async () => {
    const file = join(installation.home, "asks.yaml");
    const consent = "approvals: [{ operations: [git.bring_back], required: 1, roles: [late] }]\n";
    writeFileSync(file, `${POLICY}${consent}`);
    const words = ["--policy", file, "--", "sh", "-c", "echo new > src/late.txt"];
    const { run, code } = await exec("run", ...words);
    expect(code).not.toBe(0);
    const resumed = await installation.run(["exec", "resume", run, "--approver", "late"]);
    expect({ code: resumed.code, head: git("show", "HEAD:src/late.txt") }, resumed.err).toEqual({
      code: 0,
      head: "new",
    });
    const keys = await installation.json(["keys", "list"]);
    expect(JSON.stringify(keys.documents)).toContain('"late"');
  });
});
