import type { Project } from "./read-project.ts";

/** A policy to begin with, as YAML with comments. Every word of the project in it is one of ours. */
export function starterPolicy({ found, presets, commands }: Project): string {
  const list = (words: readonly string[]): string => `[${words.map(quoted).join(", ")}]`;
  const lines = [
    "# What agents and requests may do in this repository. What is not named here is denied.",
    "# No step may change this file. After you change it, accept it: sovereign policy trust",
    ...found.map(({ file, means }) => `# found: ${file} (${means})`),
    "policy_id: repository",
    "schema_version: 1.0.0",
    "",
    "# observe: what would be denied is done and recorded. Look at what was recorded with",
    "# `sovereign policy learn RUN`, add what is missing, then write: mode: enforce",
    "mode: observe",
    "",
    "# Commit on our side, bring back to your branch, roll back.",
    "allowed_git_operations: [git_add, git_commit]",
    "allowlist:",
    "  file_operations: [write_file, update_file, patch_file, delete_file, mkdir]",
    "  # Where: anywhere in the repository, but for deny_paths and for files that other tools run.",
    '  paths: ["**"]',
    "  # Commands run in a sandbox without a network. Every argument must match one of the patterns.",
    commands.length === 0 ? "  commands: []" : "  commands:",
    ...commands.map(
      ({ id, executable, args }) =>
        `    - { id: ${id}, executable: ${executable}, allowed_args: ${list(args)} }`,
    ),
    "",
    "# Whatever else allows it, nothing touches these.",
    `deny_paths: ${list([".sovereign", "**/.env", "**/.env.*", "**/*.pem", "**/*.key", "**/id_rsa*"])}`,
    "",
    "# Tools that commands see, read-only, at their usual places: sovereign exec plan shows them.",
    `presets: ${list(presets)}`,
    "# mounts:",
    "#   - { path: ~/sdk/tool, at: /opt/tool }",
    "",
    "# To let a coding agent work here, name it, its tools and its model: docs/agents.md",
    "# agent:",
    "#   run: [claude]",
    "#   tools: { Read: judge, Edit: judge, Write: judge, Bash: judge }",
    "# operations:",
    '#   - { type: llm.call, resources: ["anthropic/**"] }',
    "",
    "# To have people consent before anything reaches your branch:",
    "# approvals:",
    "#   - { operations: [git.bring_back], required: 1, roles: [release_manager] }",
    "",
    "limits: { max_files: 100, max_file_size_mb: 10, timeout_seconds: 600 }",
  ];
  return `${lines.join("\n")}\n`;
}

function quoted(word: string): string {
  return /^[a-z][a-z_-]*$/.test(word) ? word : JSON.stringify(word);
}
