import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { execute, type Operation, requestOf, sh, write } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

/** One of each family of what hosts run. */
const FAMILIES = [
  ".github/workflows/ci.yml",
  ".github/actions/own/action.yml",
  ".gitlab-ci.yml",
  ".gitlab/ci/jobs.yml",
  ".circleci/config.yml",
  ".travis.yml",
  "Jenkinsfile",
  "azure-pipelines.yml",
  ".buildkite/pipeline.yml",
  ".drone.yml",
  ".woodpecker.yml",
  ".woodpecker/test.yml",
  "bitbucket-pipelines.yml",
  ".ci/run.sh",
  ".forgejo/workflows/x.yml",
  ".gitea/workflows/x.yml",
  "appveyor.yml",
  ".pre-commit-config.yaml",
  ".husky/pre-commit",
  ".GITHUB/workflows/x.yml",
  "packages/a/.github/workflows/x.yml",
];
const WORKFLOW = ".github/workflows/ci.yml";
const REFUSED = { code: "ERR_CI_FILE_REFUSED" };

let repo: TestRepository;
beforeEach(() => {
  repo = new TestRepository();
});
afterEach(() => {
  repo.dispose();
});

let count = 0;
/** Run it, and hold that nothing of the user's changed. */
async function attempt(operations: readonly Operation[], policy: JsonObject = {}) {
  const before = repo.state();
  count += 1;
  const folder = join(repo.folder, `run-${count}`);
  const { code, reason } = await execute(repo, requestOf([operations]), { folder, policy });
  expect(repo.state()).toEqual(before);
  return { code, reason };
}

function allowing(ci_paths: readonly string[], more: JsonObject = {}): JsonObject {
  return {
    allowlist: {
      file_operations: ["write_file", "update_file", "patch_file", "delete_file", "mkdir"],
      paths: ["**"],
      ci_paths: [...ci_paths],
      commands: [{ id: "all", executable: "sh", allowed_args: ["**"] }],
    },
    ...more,
  };
}

const putBy = (path: string): string => `mkdir -p "$(dirname ${path})" && echo x > ${path}`;

describe("a file that hosts run, without the policy's leave", () => {
  it.each(FAMILIES)("is not written, by an operation or by a command: %s", async (path) => {
    expect(await attempt([write(path)])).toMatchObject(REFUSED);
    expect(await attempt([sh(putBy(path))])).toMatchObject(REFUSED);
  });

  it("is not changed, patched, removed or made a folder of", async () => {
    repo.write(WORKFLOW, "on: push\n");
    repo.commit("a workflow of the user's own");
    const patch = `--- a/${WORKFLOW}\n+++ b/${WORKFLOW}\n@@ -1 +1 @@\n-on: push\n+on: schedule\n`;
    for (const operation of [
      { action: "update_file", params: { path: WORKFLOW, content: "on: schedule\n" } },
      { action: "patch_file", params: { path: WORKFLOW, patch } },
      { action: "delete_file", params: { path: WORKFLOW } },
      { action: "mkdir", params: { path: ".husky" } },
      sh(`echo 'on: schedule' > ${WORKFLOW}`),
      sh(`rm ${WORKFLOW}`),
      sh(`chmod +x ${WORKFLOW}`),
    ]) {
      expect(await attempt([operation])).toMatchObject(REFUSED);
    }
  });

  it("is not moved out, moved in, or put there as a link", async () => {
    repo.write(WORKFLOW, "on: push\n");
    repo.write("ready/ci.yml", "on: push\n");
    repo.commit("two files");
    for (const script of [
      `mv ${WORKFLOW} gone.yml`,
      `mv ready/ci.yml .github/workflows/new.yml`,
      `mkdir .circleci && ln -s ../ready/ci.yml .circleci/config.yml`,
      `mkdir hooks && echo x > hooks/pre-commit && ln -s hooks .husky`,
    ]) {
      expect(await attempt([sh(script)])).toMatchObject(REFUSED);
    }
  });

  it("is refused where the policy only observes, too", async () => {
    expect(await attempt([write(WORKFLOW)], { mode: "observe" })).toMatchObject(REFUSED);
    expect(await attempt([sh(putBy(WORKFLOW))], { mode: "observe" })).toMatchObject(REFUSED);
  });

  it("is refused where the leave is for another", async () => {
    const policy = allowing([".github/workflows/docs.yml"]);
    expect(await attempt([write(WORKFLOW)], policy)).toMatchObject(REFUSED);
  });

  it("is refused where the leave is there, and the path is not allowed", async () => {
    const policy = allowing(["**"], { deny_paths: [".github/**"] });
    expect(await attempt([write(WORKFLOW)], policy)).toMatchObject({ code: "ERR_POLICY_DENIED" });
    expect(await attempt([sh(putBy(WORKFLOW))], policy)).toMatchObject({
      code: "ERR_CHANGE_REFUSED",
    });
  });
});

describe("a file that hosts run, with the policy's leave", () => {
  it.each([
    ["an operation", [write(WORKFLOW)]],
    ["a command", [sh(putBy(WORKFLOW))]],
  ])("comes back when %s wrote it, and the tape and tree say so", async (_, operations) => {
    const folder = join(repo.folder, "run");
    const policy = allowing([".github/workflows/*.yml"]);
    const { code } = await execute(repo, requestOf([operations]), { folder, policy });
    expect(code).toBe("none");
    expect(readFileSync(join(repo.root, WORKFLOW), "utf8")).toBe("x\n");
  });

  it("but git's own files stay refused", async () => {
    const policy = allowing(["**"]);
    expect(await attempt([write(".gitattributes")], policy)).toMatchObject({
      code: "ERR_CHANGE_REFUSED",
    });
  });
});
