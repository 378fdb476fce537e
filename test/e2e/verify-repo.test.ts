import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { type ComplianceBundle, isSovereignError } from "@sovereign/core";
import { parseBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openGitRepository } from "../../packages/verify/src/git/index.ts";
import { verifyRepositoryCustody } from "../../packages/verify/src/repository-custody.ts";
import { StepRecorder } from "../../packages/verify/src/step-recorder.ts";
import { type CliEnd, endOf, Installation, type Json, runEnded } from "./cli.ts";

let installation: Installation;
let repo: string;
let evidence: { bundle: string; trust: string };
let bundle: ComplianceBundle;
let run: string;
beforeAll(async () => {
  installation = new Installation({ processes: "one" });
  repo = join(installation.home, "repo");
  mkdirSync(repo);
  git("init", "-q", "-b", "main");
  writeFileSync(join(repo, "README.md"), "# Mine\n");
  git("add", "-A");
  git("commit", "-q", "-m", "base");
  const files = ["policy", "request"].flatMap((name) => [
    `--${name}`,
    resolve(`examples/exec/${name}.json`),
  ]);
  const { documents } = await installation.json(["exec", "run", ...files, "--repo", repo]);
  const end = runEnded(documents);
  expect(end).toMatchObject({ status: "completed", verdict: "VALID" });
  evidence = { bundle: end.bundle, trust: end.trust_root };
  bundle = parseBundle(readFileSync(end.bundle));
  run = end.run;
});
afterAll(async () => {
  await installation.dispose();
});

function git(...args: string[]): string {
  return gitIn(repo, ...args);
}

function gitIn(folder: string, ...args: string[]): string {
  const identity = ["-c", "user.name=User", "-c", "user.email=user@example.org"];
  return execFileSync("git", [...identity, ...args], { cwd: folder, encoding: "utf8" }).trimEnd();
}

/** A copy of the repository, to be broken. */
function copy(name: string): string {
  const folder = join(installation.home, name);
  cpSync(repo, folder, { recursive: true });
  return folder;
}

/** The verifier alone, as an auditor has it. */
function verify(folder: string, ...more: string[]): Promise<CliEnd> {
  const bin = resolve("packages/verify/bin/sovereign-verify.js");
  const args = ["--bundle", evidence.bundle, "--trust", evidence.trust, "--repo", folder, ...more];
  return endOf(spawn(process.execPath, [bin, ...args], { stdio: ["ignore", "pipe", "pipe"] }));
}

describe("sovereign-verify --repo", () => {
  it("holds every commit against the repository, and says where it stands", async () => {
    const { code, out } = await verify(repo, "--json");
    expect(code).toBe(0);
    const report = JSON.parse(out) as { verdict: string; steps: Json[] };
    expect(report.verdict).toBe("VALID");
    const step = report.steps.at(-1);
    expect(step).toMatchObject({ name: "repository_custody", status: "PASS", passed: 7 });
    const places = Object.entries(step?.["details"] as Record<string, string>);
    const commits = git("rev-list", "--reverse", "--abbrev=12", "--abbrev-commit", "HEAD~6..HEAD");
    expect(places).toEqual([
      ["branch", "refs/heads/main"],
      ...commits.split("\n").map((id, at) => [`step_0${at + 1}`, `${id} on refs/heads/main`]),
    ]);
  });

  it.each<[string, (folder: string) => string]>([
    [
      "packed tight",
      (folder) => {
        gitIn(folder, "gc", "-q", "--aggressive", "--prune=now");
        return folder;
      },
    ],
    [
      "borrowed",
      (folder) => {
        gitIn(folder, "clone", "-q", "--shared", folder, `${folder}-clone`);
        return `${folder}-clone`;
      },
    ],
    [
      "a linked work tree",
      (folder) => {
        gitIn(folder, "worktree", "add", "-q", "--detach", `${folder}-linked`);
        return `${folder}-linked`;
      },
    ],
    [
      "bare, by a later commit",
      (folder) => {
        gitIn(folder, "commit", "-q", "--allow-empty", "-m", "later");
        gitIn(folder, "clone", "-q", "--bare", folder, `${folder}.git`);
        return `${folder}.git`;
      },
    ],
  ])("finds them in a repository that is %s", async (name, change) => {
    const { code, out } = await verify(change(copy(name.replaceAll(" ", "-"))));
    expect(out).toContain("Verdict: VALID");
    expect(out.match(/step_0\d [0-9a-f]{12} on refs\/heads\/main/g)).toHaveLength(6);
    expect(code).toBe(0);
  });

  it("tells of commits that the branch has left", async () => {
    const folder = copy("left");
    gitIn(folder, "branch", "aside", "HEAD~2");
    gitIn(folder, "reset", "-q", "--hard", "HEAD~6");
    const { code, out } = await verify(folder);
    expect(code).toBe(0);
    expect(out.match(/on refs\/heads\/aside, not on refs\/heads\/main/g)).toHaveLength(4);
    expect(out.match(/was on refs\/heads\/main, now on no branch/g)).toHaveLength(2);
  });

  it.each<[string, (folder: string) => string, number, RegExp]>([
    [
      "too shallow",
      (folder) => {
        gitIn(folder, "clone", "-q", "--depth=3", `file://${folder}`, `${folder}-clone`);
        return `${folder}-clone`;
      },
      4,
      /checked 3 \/ 7[^]*ERR_GIT_OBJECT_MISSING[^]*Verdict: INCOMPLETE/,
    ],
    [
      "without them",
      (folder) => {
        gitIn(folder, "reset", "-q", "--hard", "HEAD~6");
        gitIn(folder, "reflog", "expire", "--expire=now", "--all");
        gitIn(folder, "gc", "-q", "--prune=now");
        return folder;
      },
      4,
      /checked 1 \/ 7[^]*ERR_GIT_OBJECT_MISSING[^]*Verdict: INCOMPLETE/,
    ],
    [
      "rewritten",
      (folder) => {
        gitIn(folder, "commit", "-q", "--amend", "-m", "mine");
        gitIn(folder, "reflog", "expire", "--expire=now", "--all");
        gitIn(folder, "gc", "-q", "--prune=now");
        return folder;
      },
      4,
      /step_06 [0-9a-f]{12} is not compared: bytes that it needs are missing[^]*Verdict: INCOMPLETE/,
    ],
    [
      "damaged",
      (folder) => {
        gitIn(folder, "gc", "-q");
        const packs = join(folder, ".git/objects/pack");
        for (const name of readdirSync(packs).filter((one) => one.endsWith(".pack"))) {
          chmodSync(join(packs, name), 0o644);
          truncateSync(join(packs, name), 100);
        }
        return folder;
      },
      4,
      /ERR_GIT_OBJECT_CORRUPT[^]*Verdict: INVALID/,
    ],
    [
      "none at all",
      (folder) => {
        rmSync(join(folder, ".git"), { recursive: true });
        return folder;
      },
      2,
      /ERR_REPOSITORY_UNREADABLE/,
    ],
  ])("says so where the repository is %s", async (name, change, exit, found) => {
    const { code, out, err } = await verify(change(copy(name.replaceAll(" ", "-"))));
    expect(`${out}${err}`).toMatch(found);
    expect(code).toBe(exit);
  });
});

describe("a bundle whose entries name other commits than the repository has", () => {
  const commit = (change: (output: Json) => void) => (edited: Json[]) => {
    for (const { entry } of edited as { entry: Json }[]) {
      const data = entry["data"] as Json;
      if (data["step_id"] === "step_02.commit" && "output" in data) change(data["output"] as Json);
    }
  };
  /** The actions were authorised, and of none is it said how it ended. */
  const withoutEnds = (edited: Json[]): void => {
    const kept = (edited as { entry: Json }[]).filter(
      ({ entry }) => entry["event_type"] !== "execution.completed",
    );
    edited.splice(0, edited.length, ...kept);
  };
  it.each<[string, (entries: Json[]) => void, string]>([
    ["another tree", commit((output) => (output["tree"] = "0".repeat(40))), "The tree of step_02"],
    ["a patch", commit((output) => (output["patch_sha256"] = "0".repeat(64))), "The patch of step"],
    ["a parent", commit((output) => (output["parent"] = "0".repeat(40))), "The parent of step_02"],
    ["another", commit((output) => (output["commit"] = "0".repeat(40))), "The commit of step_02"],
    ["nothing", withoutEnds, "there is nothing to look for"],
  ])("%s", (_, change, message) => {
    const edited = structuredClone(bundle);
    change(edited.entries);
    expect(custodyOf(edited)).toContain(message);
  });

  it("a checksum that is another", () => {
    const edited = structuredClone(bundle);
    for (const artifact of edited.artifacts) {
      if (artifact.name !== "audit/checksums.json") continue;
      const text = Buffer.from(artifact.content ?? "", "base64").toString("utf8");
      const bytes = Buffer.from(text.replace(/"after":"[0-9a-f]{4}/, '"after":"0000'));
      artifact.content = bytes.toString("base64");
      artifact.sha256 = createHash("sha256").update(bytes).digest("hex");
    }
    expect(custodyOf(edited)).toMatch(
      /SHA-256 of sovereign-example\/\S+ after step_01: expected 0000/,
    );
  });

  it("a patch that is another, or is not there", () => {
    const edited = structuredClone(bundle);
    const artifact = edited.artifacts.find((one) => one.name === "patches/step_03.patch");
    const content = artifact?.content ?? "";
    if (artifact !== undefined) artifact.content = `${content.slice(0, -8)}AAAAAA==`;
    expect(custodyOf(edited)).toContain("The digest of the bytes of patches/step_03.patch");
    if (artifact !== undefined) delete artifact.content;
    expect(custodyOf(edited)).toContain("does not hold the bytes of patches/step_03.patch");
  });
});

describe("the bundle of a rollback", () => {
  let undone: ComplianceBundle;
  beforeAll(async () => {
    const { documents } = await installation.json(["exec", "rollback", run]);
    const end = runEnded(documents);
    expect(end).toMatchObject({ status: "completed", verdict: "VALID" });
    undone = parseBundle(readFileSync(end.bundle));
  });

  it.each<[string, (text: string) => string, string]>([
    ["holds", (text) => text, "held"],
    [
      "has another digest of a file",
      (text) => text.replace(/("kept_unchanged":true,"sha256":)"[0-9a-f]{4}/, '$1"0000'),
      "SHA-256 over every file of the tree",
    ],
    [
      "has a file less",
      (text) => text.replace(/"total":\d+/, '"total":0'),
      "How many files the tree has",
    ],
    [
      "says that files were converted",
      (text) => text.replace('"converted":0', '"converted":1'),
      "How many restored files are not git's bytes",
    ],
    [
      "has another tree",
      (text) => text.replace(/"tree":"[0-9a-f]{4}/, '"tree":"0000'),
      "The tree in 03_executor/rollback_proof.json",
    ],
  ])("%s", (_, edit, message) => {
    const edited = structuredClone(undone);
    for (const artifact of edited.artifacts) {
      if (artifact.name !== "03_executor/rollback_proof.json") continue;
      const bytes = Buffer.from(
        edit(Buffer.from(artifact.content ?? "", "base64").toString("utf8")),
      );
      artifact.content = bytes.toString("base64");
      artifact.sha256 = createHash("sha256").update(bytes).digest("hex");
    }
    expect(custodyOf(edited)).toContain(message);
  });
});

function custodyOf(edited: ComplianceBundle): string {
  const step = new StepRecorder("repository_custody");
  try {
    verifyRepositoryCustody(openGitRepository(repo), edited, step);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return `thrown: ${error.message}`;
  }
  return step.result().first_failure?.message ?? "held";
}
