import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { patchSections, type ToolResultPack, type ToolTaskPack } from "@sovereign/core";
import { type PackReport, verifyToolResult } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FORMAT_PATCH, PlainRepository } from "./support/repository.ts";

let repository: PlainRepository;
let task: ToolTaskPack;
let genuine: ToolResultPack;

const sha = (text: string): string => createHash("sha256").update(text).digest("hex");

beforeAll(() => {
  repository = new PlainRepository();
  repository.write("src/a.txt", "one\ntwo\n");
  repository.write("src/gone.txt", "gone\n");
  repository.write("Makefile", "all:\n");
  const base = repository.commit("base");
  repository.write("src/a.txt", "one\n2\n");
  repository.write("src/new.bin", Buffer.from([0, 1, 2, 255]));
  const first = repository.commit("First");
  repository.remove("src/gone.txt");
  const second = repository.commit("Second\n\nwith a body");
  const patchOf = (path: string): string =>
    `${repository.git("diff", "--full-index", "--binary", "--no-renames", base, second, "--", path)}\n`;
  task = {
    tool_task_pack_id: "ttpack_one",
    schema_version: "0.11.2",
    created_at: "2026-01-01T00:00:00Z",
    tool_type: "codex",
    repo_state: { branch: "main", commit_hash: base, is_dirty: false, remote_url: null },
    work_scope: { allowed_directories: ["src"], forbidden_paths: ["*.pem"] },
    steps: [{ step_id: "one", goal: "Do it", verification_commands: ["npm test"] }],
    prompt_pack: { red_lines: [] },
    acceptance: { gates: [], tests: [], policy_checks: [] },
    limits: { timeout_seconds: 60, turns: null, budget_microusd: 1_000_000 },
    metadata: { model_name: "m", tool_version: "1.2.3" },
  };
  genuine = {
    tool_result_pack_id: "trpack_one",
    tool_task_pack_id: "ttpack_one",
    schema_version: "0.11.2",
    tool_type: "codex",
    status: "success",
    diffs: [
      diff("src/a.txt", "modified", patchOf("src/a.txt"), sha("one\ntwo\n"), sha("one\n2\n")),
      diff("src/gone.txt", "deleted", patchOf("src/gone.txt"), sha("gone\n"), null),
      diff(
        "src/new.bin",
        "added",
        `${patchOf("src/new.bin")}\n`,
        null,
        createHash("sha256")
          .update(Buffer.from([0, 1, 2, 255]))
          .digest("hex"),
      ),
    ],
    artifacts: {
      files_created: ["src/new.bin"],
      files_modified: ["src/a.txt"],
      files_deleted: ["src/gone.txt"],
      commits: [
        { commit_hash: first, message: "First", files_changed: 2 },
        { commit_hash: second, message: "Second\n\nwith a body", files_changed: 1 },
      ],
    },
    test_logs: {
      build_output: null,
      test_output: "ok",
      lint_output: null,
      commands: [{ argv: ["npm", "test"], passed: true, log_sha256: null }],
    },
    run_metadata: {
      tool_version: "1.2.3",
      model_name: "m",
      execution_time_seconds: 5,
      cost_usd: 0.5,
      tokens_used: 100,
      prompt_hash: sha("Do it"),
    },
    policy_attestation: { scope_compliant: true, red_lines_respected: true, violations: [] },
    started_at: "2026-01-01T00:00:01Z",
    completed_at: "2026-01-01T00:00:31Z",
    error: null,
  };
});
afterAll(() => {
  repository.dispose();
});

function diff(
  file_path: string,
  diff_type: "added" | "modified" | "deleted",
  patch: string | null,
  checksum_before: string | null,
  checksum_after: string | null,
): ToolResultPack["diffs"][number] {
  return { file_path, diff_type, patch, checksum_before, checksum_after };
}

function report(
  change: (pack: ToolResultPack, task: ToolTaskPack) => void = () => undefined,
): PackReport {
  const pack = structuredClone(genuine);
  const given = structuredClone(task);
  change(pack, given);
  return verifyToolResult(given, pack, repository.root);
}

const linesOf = (found: PackReport, word: string): string[] =>
  found.lines.filter((one) => one.found === word).map((one) => one.field);

describe("a result pack that somebody else made", () => {
  it("is TRUE where all of it is so, with what nobody can say told as claims", () => {
    const found = report();
    expect(found.lines.filter((one) => one.found === "false")).toEqual([]);
    expect(found.verdict).toBe("TRUE");
    expect(linesOf(found, "claim")).toContain("run_metadata.tokens_used");
    expect(linesOf(found, "claim")).toContain("test_logs.test_output");
  });

  const other = "e".repeat(64);
  it.each<[string, string, (pack: ToolResultPack) => void]>([
    ["another task", "tool_task_pack_id", (one) => (one.tool_task_pack_id = "ttpack_two")],
    ["another tool", "tool_type", (one) => (one.tool_type = "opencode")],
    ["a version of no format", "schema_version", (one) => (one.schema_version = "9")],
    ["a success without a diff", "status", (one) => (one.diffs = [])],
    ["a failure without an error", "error", (one) => (one.status = "failed")],
    ["a success with an error", "error", (one) => (one.error = { code: "x", message: "x" })],
    ["a file left out", "diffs", (one) => one.diffs.pop()],
    ["a file more", "diffs", (one) => one.diffs.push(diff("src/b", "added", null, null, other))],
    ["a file twice", "diffs", (one) => one.diffs.push(one.diffs[0]!)],
    [
      "another kind of change",
      'diffs."src/a.txt".diff_type',
      (one) => (one.diffs[0]!.diff_type = "added"),
    ],
    [
      "another digest before",
      'diffs."src/a.txt".checksum_before',
      (one) => (one.diffs[0]!.checksum_before = other),
    ],
    [
      "another digest after",
      'diffs."src/a.txt".checksum_after',
      (one) => (one.diffs[0]!.checksum_after = other),
    ],
    [
      "another patch",
      'diffs."src/a.txt".patch',
      (one) => (one.diffs[0]!.patch = one.diffs[0]!.patch!.replace("+2", "+3")),
    ],
    [
      "a patch of another file",
      'diffs."src/a.txt".patch',
      (one) => (one.diffs[0]!.patch = one.diffs[1]!.patch),
    ],
    ["a patch that is none", 'diffs."src/a.txt".patch', (one) => (one.diffs[0]!.patch = "rubbish")],
    [
      "a file that was not made",
      "artifacts.files_created",
      (one) => one.artifacts.files_created.push("x"),
    ],
    [
      "a file not said to be changed",
      "artifacts.files_modified",
      (one) => (one.artifacts.files_modified = []),
    ],
    [
      "a file not said to be deleted",
      "artifacts.files_deleted",
      (one) => (one.artifacts.files_deleted = []),
    ],
    [
      "another message",
      "artifacts.commits.0.message",
      (one) => (one.artifacts.commits[0]!.message = "x"),
    ],
    [
      "another number of files",
      "artifacts.commits.0.files_changed",
      (one) => (one.artifacts.commits[0]!.files_changed = 9),
    ],
    [
      "a commit left out",
      "artifacts.commits.0.commit_hash",
      (one) => one.artifacts.commits.shift(),
    ],
    [
      "commits in another order",
      "artifacts.commits.0.commit_hash",
      (one) => one.artifacts.commits.reverse(),
    ],
    [
      "a test that is not said to have passed",
      "test_logs.commands",
      (one) => (one.test_logs.commands = []),
    ],
    [
      "no log",
      "test_logs",
      (one) => {
        delete one.test_logs.commands;
        one.test_logs.test_output = null;
      },
    ],
    ["no version", "run_metadata.tool_version", (one) => (one.run_metadata.tool_version = null)],
    [
      "another version",
      "run_metadata.tool_version",
      (one) => (one.run_metadata.tool_version = "9"),
    ],
    ["another model", "run_metadata.model_name", (one) => (one.run_metadata.model_name = "n")],
    ["another prompt", "run_metadata.prompt_hash", (one) => (one.run_metadata.prompt_hash = other)],
    [
      "more time than there was",
      "run_metadata.execution_time_seconds",
      (one) => (one.run_metadata.execution_time_seconds = 45),
    ],
    [
      "more money than was given",
      "run_metadata.cost_usd",
      (one) => (one.run_metadata.cost_usd = 1.5),
    ],
    [
      "a violation beside all being well",
      "policy_attestation.violations",
      (one) =>
        one.policy_attestation.violations.push({
          rule: "x",
          severity: "error",
          message: "x",
          place: null,
        }),
    ],
    [
      "approval by nobody",
      "reviewer_signoff",
      (one) => (one.reviewer_signoff = { approved: true, approvals: 0, reviewers: [] }),
    ],
    [
      "an end before its beginning",
      "completed_at",
      (one) => (one.completed_at = "2026-01-01T00:00:00Z"),
    ],
    [
      "a beginning before the task",
      "started_at",
      (one) => (one.started_at = "2025-01-01T00:00:00Z"),
    ],
    [
      "a run whose id it does not have",
      "tool_result_pack_id",
      (one) => (one.run_id = `run_${"a".repeat(20)}`),
    ],
  ])("that tells of %s is FALSE, by a line of its own", (_what, field, change) => {
    const found = report(change);
    expect(found.verdict).toBe("FALSE");
    expect(linesOf(found, "false")).toContain(field);
  });

  it("is FALSE for work out of its scope, also where it owns up to it", () => {
    const narrow = (_: ToolResultPack, given: ToolTaskPack): void => {
      given.work_scope = { allowed_directories: ["src/a.txt"], forbidden_paths: [] };
    };
    const found = report(narrow);
    expect(found.verdict).toBe("FALSE");
    expect(linesOf(found, "false")).toContain("work_scope");
    expect(linesOf(found, "false")).toContain("policy_attestation.scope_compliant");
    const owned = report((pack, given) => {
      narrow(pack, given);
      pack.policy_attestation.scope_compliant = false;
    });
    expect(linesOf(owned, "false")).not.toContain("policy_attestation.scope_compliant");
    expect(owned.verdict).toBe("FALSE");
  });

  it("is FALSE where a file that git obeys was changed", () => {
    const own = new PlainRepository();
    own.write("a.txt", "a\n");
    const base = own.commit("base");
    own.write(".gitmodules", "[submodule]\n");
    const commit = own.commit("x");
    const pack = structuredClone(genuine);
    const given = structuredClone(task);
    given.repo_state.commit_hash = base;
    given.work_scope.allowed_directories = ["."];
    pack.artifacts = {
      files_created: [".gitmodules"],
      files_modified: [],
      files_deleted: [],
      commits: [{ commit_hash: commit, message: "x", files_changed: 1 }],
    };
    pack.diffs = [diff(".gitmodules", "added", null, null, sha("[submodule]\n"))];
    const found = verifyToolResult(given, pack, own.root);
    own.dispose();
    expect(linesOf(found, "false")).toEqual([
      "red_lines",
      "policy_attestation.red_lines_respected",
    ]);
  });

  it("is FAILED where it is true, and tells of failure or wants a review", () => {
    const failed = report((one) => {
      one.status = "failed";
      one.error = { code: "x", message: "x" };
    });
    expect(failed.verdict).toBe("FAILED");
    const unreviewed = report((one, given) => {
      given.metadata = { ...given.metadata, requires_review: true };
      one.reviewer_signoff = { approved: false, approvals: 0, reviewers: [] };
    });
    expect(unreviewed.verdict).toBe("FAILED");
  });

  it("is INCOMPLETE where the repository lacks its commits", () => {
    const found = report((one) => (one.artifacts.commits[1]!.commit_hash = "f".repeat(40)));
    expect(found.verdict).toBe("INCOMPLETE");
    expect(linesOf(found, "unknown")).toEqual(["artifacts.commits.1.commit_hash"]);
  });

  it("is TRUE with files of odd names and kinds, cut out of one patch", () => {
    const own = new PlainRepository();
    const names = ["ünï.txt", 'qu"ote.txt', "tab\there", "back\\slash", "sp ace", "-dash", "moved"];
    for (const name of names) own.write(name, "before\n");
    const base = own.commit("base");
    for (const name of names.slice(0, 6)) own.write(name, `diff --git a/${name} b/${name}\n`);
    own.link("moved", "sp ace");
    own.write("run.sh", "#!/bin/sh\n", 0o755);
    own.write("empty", "");
    const commit = own.commit("odd");
    const sections = patchSections(own.bytes([...FORMAT_PATCH, commit]));
    const after = new Map<string, string>([
      ...names.slice(0, 6).map((name) => [name, `diff --git a/${name} b/${name}\n`] as const),
      ["moved", "sp ace"],
      ["run.sh", "#!/bin/sh\n"],
      ["empty", ""],
    ]);
    const given = structuredClone(task);
    given.repo_state.commit_hash = base;
    given.work_scope = { allowed_directories: ["."], forbidden_paths: [] };
    const pack = structuredClone(genuine);
    pack.diffs = [...after].map(([name, text]) => {
      const bytes = Buffer.from(name, "utf8").toString("latin1");
      const patch = Buffer.from(sections.get(bytes) ?? []).toString("utf8");
      const type = names.includes(name) ? "modified" : "added";
      return diff(name, type, patch, type === "added" ? null : sha("before\n"), sha(text));
    });
    pack.artifacts = {
      files_created: ["run.sh", "empty"],
      files_modified: names,
      files_deleted: [],
      commits: [{ commit_hash: commit, message: "odd", files_changed: 9 }],
    };
    const found = verifyToolResult(given, pack, own.root);
    own.dispose();
    expect(found.lines.filter((one) => one.found === "false")).toEqual([]);
    expect(linesOf(found, "holds").filter((one) => one.endsWith(".patch"))).toHaveLength(9);
  });

  it("has no verdict where there is no repository", () => {
    const empty = mkdtempSync(join(tmpdir(), "sov-none-"));
    expect(() => verifyToolResult(task, genuine, empty)).toThrow(/repository/);
    rmSync(empty, { recursive: true });
  });
});
