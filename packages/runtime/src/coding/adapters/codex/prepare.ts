import type { AgentTask, PreparedAgent } from "../../adapter.ts";
import { hookCommand, INSIDE, MODEL_PORT } from "../../inside-paths.ts";
import { wordsFor } from "../../task-words.ts";
import { DENIAL } from "../../tool-hooks.ts";

/** Where the program is seen inside. */
export const CODEX = "/agent/codex";
const FOLDER = "/etc/codex";
/** Longer than our hook waits for an answer: ours is the deadline that counts. */
const HOOK_SECONDS = 60;
const ANSWER_MS = 600_000;
const TOKEN = "SOVEREIGN_MODEL_TOKEN";

/**
 * What it does besides commands and patches: reaches services, starts programs, reads skills and
 * pictures, asks other agents.
 */
const OFF = [
  ...["apps", "plugins", "plugin_sharing", "remote_plugin", "tool_suggest", "skill_search"],
  ...["skill_mcp_dependency_install", "tool_call_mcp_elicitation", "auth_elicitation"],
  ...["browser_use", "browser_use_external", "computer_use", "in_app_browser"],
  ...["image_generation", "view_image", "multi_agent", "goals", "sleep_tool"],
  ...["unbounded_connection_retries", "shell_snapshot", "daemon_auto_start", "guardian_approval"],
  ...["workspace_dependencies", "api_key_model_discovery", "enable_request_compression"],
] as const;

/**
 * Nothing of the user's or the repository's is read. Its own sandbox is off, because it runs in ours,
 * which allows no other inside; and it asks nobody for leave but the managed hook.
 */
export function prepare(task: AgentTask): PreparedAgent {
  return {
    argv: [
      ...[CODEX, "exec", "--json", "--skip-git-repo-check"],
      ...["--ignore-user-config", "--ignore-rules", "--strict-config"],
      ...["--sandbox", "danger-full-access", "--model", task.model],
      ...(task.resume === undefined ? ["-"] : ["resume", task.resume, "-"]),
    ],
    env: { [TOKEN]: task.token, TMPDIR: "/tmp", CODEX_HOME: INSIDE.session },
    stdin: wordsFor(task),
    files: {
      [`${FOLDER}/config.toml`]: settings(task),
      [`${FOLDER}/requirements.toml`]: managed(),
    },
    masked: [".codex", ".agents", ".mcp.json"],
  };
}

/** Skills are not told of: where their folder is a link, it cannot be hidden. */
function settings({ tools }: AgentTask): string {
  return `
model_provider = "sovereign"
approval_policy = "never"
web_search = "disabled"
check_for_update_on_startup = false
project_doc_max_bytes = 0

[model_providers.sovereign]
name = "sovereign"
base_url = "http://127.0.0.1:${MODEL_PORT}/v1"
env_key = "${TOKEN}"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 0
stream_idle_timeout_ms = ${ANSWER_MS}

[analytics]
enabled = false

[history]
persistence = "none"

[shell_environment_policy]
inherit = "core"
ignore_default_excludes = false

[skills]
include_instructions = false

[features]
shell_tool = ${tools.includes("Bash")}
${OFF.map((name) => `${name} = false`).join("\n")}
`;
}

/** What nothing else that the program reads can take back. */
export function managed(command: string = hookCommand(DENIAL), seconds = HOOK_SECONDS): string {
  const events = ["PreToolUse", "PostToolUse"].map(
    (event) => `
[[hooks.${event}]]
matcher = "*"

[[hooks.${event}.hooks]]
type = "command"
command = ${JSON.stringify(command)}
timeout = ${seconds}
`,
  );
  return `
allow_managed_hooks_only = true

[hooks]
managed_dir = "${FOLDER}"
${events.join("")}`;
}
