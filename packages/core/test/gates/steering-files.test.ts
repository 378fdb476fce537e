import { isCiFile, isGitControl } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { hostRunTool } from "../../src/gates/steering-files.ts";

/** Of each kind of tool, what it finds by its name. */
const TOOLS = [
  ".vscode/tasks.json",
  ".vscode/settings.json",
  ".VSCode/Tasks.json",
  "deep/down/.vscode/launch.json",
  "my.code-workspace",
  ".claude/settings.json",
  "web/.claude/hooks/x.sh",
  "CLAUDE.md",
  "AGENTS.md",
  "GEMINI.md",
  ".devcontainer/devcontainer.json",
  ".devcontainer.json",
  ".mcp.json",
  ".cursor/mcp.json",
  ".cursorrules",
  ".windsurf/rules/x.md",
  ".clinerules/x.md",
  ".envrc",
  ".env",
  ".yarnrc.yml",
  ".yarn/releases/yarn.cjs",
  ".pnpmfile.cjs",
  ".npmrc",
  ".idea/workspace.xml",
  "mise.toml",
  ".mise.local.toml",
  ".tool-versions",
  ".zed/settings.json",
  ".codex/config.toml",
  ".gemini/settings.json",
  "opencode.json",
  ".aider.conf.yml",
  ".continue/config.yaml",
  ".amazonq/cli-agents/x.json",
  ".kiro/hooks/x",
  ".roo/mcp.json",
  "action.yml",
  "actions/own/action.yaml",
  ".zuul.yaml",
  ".zuul.d/x.yaml",
  "hooks/pre-commit",
  "hooks/post-checkout",
  "hooks/fsmonitor-watchman",
  ".hooks/pre-push",
  ".github/hooks/x.json",
  ".github/copilot-instructions.md",
  ".exrc",
  ".nvim.lua",
  ".dir-locals.el",
  "x.sublime-project",
  ".helix/languages.toml",
  ".fleet/run.json",
  ".bashrc",
  ".cargo/config.toml",
  "rust-toolchain.toml",
  "gradle/wrapper/gradle-wrapper.properties",
  ".mvn/extensions.xml",
  ".bunfig.toml",
  "pip.conf",
  ".pypirc",
  ".lintstagedrc.js",
  "lefthook-local.yml",
  ".gdbinit",
  ".lldbinit",
  ".pdbrc",
  ".Rprofile",
  ".eslintrc.cjs",
  "eslint.config.mjs",
  ".venv/bin/python",
  "lib/python3.12/site-packages/evil.pth",
  "node_modules/.bin/eslint",
  "sitecustomize.py",
  ".bsp/sbt.json",
  ".envrc::$DATA",
  ".env\ufe0frc",
  "git.exe",
];

/** Of each row that came later, one as it is and one as another file system could spell it. */
const LATER = [
  ...["renovate.json", "lib/.RENOVATERC.json5", ".github/dependabot.yml", ".github/Settings.yml"],
  ...[".gitlab/agents/prod/config.yaml", "app.gocd.yaml", "ios/ci_scripts/ci_post_clone.sh"],
  ...[".trunk/trunk.yaml", "hk.pkl", ".idx/dev.nix", "conductor.json", "hie.yaml", "x/Hie.Yaml"],
  ...[".ropeproject/config.py", "buildServer.json", ".lsp/config.edn", "ols.json", "config.nims"],
  ...["analysis_options.yaml", ".fvm/flutter_sdk/bin/dart", "Directory.Build.props", "go.work"],
  ...["directory.build.TARGETS", "nx.json", ".oxlintrc.json", ".scalafix.conf", ".luacheckrc"],
  ...["platformio.ini", ".latexmkrc", "paper/latexmkrc", ".lazy.lua", ".coderabbit.yaml"],
  ...[".shadowenv.d/500_x.lisp", ".bazelrc", "tools/bazel", "local.properties", ".htaccess"],
  ...["compose.override.yaml", "public/.user.ini", ".chef/knife.rb", "renv/activate.R", ".netrc"],
  ...[
    "go.work.",
    "GO.WORK ",
    "compose\u200b.override.yaml",
    "\uff0elatexmkrc",
    "renovate.j\u017fon",
  ],
  ...[
    "go.work::$DATA",
    "hie.yaml:x",
    ".\u2064bazelrc",
    "\u212aodiak.toml".replace("\u212a", ".\u212a"),
  ],
];

/** Of each row that came with the fourth dialect, and names with a colon in them. */
const FOURTH = [
  ...[".mux/init", ".superset/config.json", ".emdash.json", ".pi/extensions/x.ts", ".PI/x"],
  ...["skills/deploy/SKILL.md", ".qoder/rules/x.md", "rulesync.jsonc", ".kateproject", ".lintr.R"],
  ...[".tern-project", "docs/cSpell.json", ".cspell.config.yaml", "bin/activate-hermit"],
  ...["devenv.nix", "shell.nix", ".env.leave"],
  ...["my:own.code-workspace", "lib:x-gdb.py", "a:b.JENKINSFILE", "azure-pipelines:x.yml"],
  ...["hooks/pre-a:b", ".vscode:x/a:b", "a:\u200bb.code\uff0dworkspace"],
];

/** Of each row that came with the fifth. */
const FIFTH = [".sovereign/policy.yaml", "packages/a/.Sovereign/x", ".sovereign"];

/** Of each row that came with the sixth. */
const SIXTH = [
  ...["gptme.toml", "Codebuff.json", ".eca/config.json", ".swift-version", "php/.PHP-VERSION"],
  ...[".lfsconfig", ".LFSConfig::$DATA", "docs/a.lnk", "x.URL", "more.searchConnector-ms"],
  ...["Own files.Library-ms", "\uff0elfsconfig", "a:b.scf"],
];

/** Of each row that came with the seventh. */
const SEVENTH = [
  ...["lean-toolchain", "PSScriptAnalyzerSettings.psd1", "psscriptanalyzersettings.PSD1"],
  ...[".github/linters/x", "release.config.mjs", "PRESUBMIT.py", ".qlty/qlty.toml"],
  ...["kls-classpath", "src/pyrefly.toml", ".tm_properties", "lsp.json", ".letta/x"],
  ...[".envrc.local", "flake.nix", "user.bazelrc", "before.x.sln.targets", ".conda/bin/python"],
  ...["$irbrc", ".mavenrc", "\uff0ecorepack.env", "Lean-Toolchain::$DATA"],
];

/** Names that no table held before the fourth dialect. */
const NEW = [".pi/extensions/x.ts", "devenv.nix", "my:own.code-workspace", "lib:x-gdb.py"];

describe("a file that hosts run", () => {
  it.each(FIFTH)(
    "is %s from the fifth dialect on: our own policy is nobody's to change",
    (path) => {
      expect(
        ([2, 3, 4, 5] as const).map((dialect) => hostRunTool(path, false, dialect) !== null),
      ).toEqual([false, false, false, true]);
    },
  );

  it.each(SIXTH)("is %s from the sixth dialect on, and was none before", (path) => {
    expect(
      ([2, 3, 4, 5, 6] as const).map((dialect) => hostRunTool(path, false, dialect) !== null),
    ).toEqual([false, false, false, false, true]);
  });

  it.each(SEVENTH)("is %s from the seventh dialect on, and was none before", (path) => {
    expect(
      ([2, 3, 4, 5, 6, 7] as const).map((dialect) => hostRunTool(path, false, dialect) !== null),
    ).toEqual([false, false, false, false, false, true]);
  });

  it.each(NEW)("is %s from the fourth dialect on, and was none before", (path) => {
    expect(
      ([2, 3, 4] as const).map((dialect) => hostRunTool(path, false, dialect) !== null),
    ).toEqual([false, false, true]);
  });

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
    ...TOOLS,
    ...LATER,
    ...FOURTH,
    ...FIFTH,
    ...SIXTH,
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
    "src/hooks/useThing.ts",
    "hooks/index.ts",
    "src/environment.ts",
    "package.json",
    "Makefile",
    "conftest.py",
    "model.pth",
    ".env.example",
    "words/cspell.txt",
    "a:code-workspace",
    "a.code-workspace.d:x",
    "docs/agents.html",
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
