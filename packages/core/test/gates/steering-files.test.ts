import { isCiFile, isGitControl } from "@sovereign/core";
import { describe, expect, it } from "vitest";

describe("a file that hosts run", () => {
  it.each([
    ".github",
    ".github/workflows/ci.yml",
    ".github/workflows",
    ".github/actions/own/action.yml",
    ".GitHub/Workflows/ci.yml",
    ".g\u200bithub/workflows/ci.yml",
    "\uff0egithub/workflows/ci.yml",
    "services/api/.github/workflows/ci.yml",
    ".gitlab-ci.yml",
    ".gitlab-ci.yaml",
    ".gitlab/ci/jobs.yml",
    ".circleci/config.yml",
    ".circleci",
    ".travis.yml",
    "Jenkinsfile",
    "deploy/Jenkinsfile.release",
    "release.jenkinsfile",
    "azure-pipelines.yml",
    "azure-pipelines-nightly.yaml",
    ".azure-pipelines/x.yml",
    ".buildkite/pipeline.yml",
    ".drone.yml",
    ".drone.star",
    ".woodpecker.yml",
    ".woodpecker/test.yaml",
    "bitbucket-pipelines.yml",
    ".ci/run.sh",
    ".forgejo/workflows/x.yml",
    ".gitea/workflows/x.yml",
    "appveyor.yml",
    ".appveyor.yml",
    ".pre-commit-config.yaml",
    ".husky/pre-commit",
    "web/.husky/pre-push",
    "lefthook.yml",
    ".cirrus.yml",
    "cloudbuild.yaml",
    ".tekton/pull.yaml",
  ])("is %s", (path) => {
    expect(isCiFile(path)).toBe(true);
  });

  it.each([
    "src/app.ts",
    ".github/ISSUE_TEMPLATE/bug.md",
    ".github/CODEOWNERS",
    "github/workflows/ci.yml",
    "docs/Jenkinsfile/readme.md",
    "docs/azure-pipelines.md",
    "ci/run.sh",
    "travis.yml",
    ".gitlab/issue_templates/a.md",
  ])("is not %s", (path) => {
    expect(isCiFile(path)).toBe(false);
  });
});

describe("a file that git obeys", () => {
  it.each([".gitattributes", ".gitmodules", "a/.gitignore", ".GITATTRIBUTES", ".gitpod.yml"])(
    "is %s",
    (path) => {
      expect(isGitControl(path)).toBe(true);
    },
  );

  it.each([".gitkeep", "a/.github/x", ".gitea/x", ".gitlab-ci.yml", ".gitlab/x", "git"])(
    "is not %s",
    (path) => {
      expect(isGitControl(path)).toBe(false);
    },
  );
});
