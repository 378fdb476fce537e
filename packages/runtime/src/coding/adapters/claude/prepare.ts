import { canonicalize, type JsonObject } from "@sovereign/core";
import type { AgentTask, PreparedAgent } from "../../adapter.ts";
import { hookCommand, INSIDE, MODEL_PORT } from "../../inside-paths.ts";
import { wordsFor } from "../../task-words.ts";
import { DENIAL } from "../../tool-hooks.ts";

/** Where the program is seen inside. */
export const CLAUDE = "/agent/claude";
/** Longer than our hook waits for an answer: ours is the deadline that counts. */
const HOOK_SECONDS = 60;
const ATTEMPTS_MAX = "2";
const ANSWER_MS = "600000";

/**
 * No setting of the user's or the repository's is read. In the default mode each tool that changes
 * something needs leave, and only our hook gives it: an agent that does not ask may do nothing.
 */
export function prepare(task: AgentTask): PreparedAgent {
  return {
    argv: [
      CLAUDE,
      ...["-p", "--output-format", "stream-json", "--verbose"],
      ...["--setting-sources", "", "--strict-mcp-config", "--permission-mode", "default"],
      ...["--model", task.model, "--tools", task.tools.join(",")],
      ...(task.resume === undefined ? [] : ["--resume", task.resume]),
    ],
    env: {
      CLAUDE_CONFIG_DIR: INSIDE.session,
      ANTHROPIC_BASE_URL: `http://127.0.0.1:${MODEL_PORT}`,
      ANTHROPIC_API_KEY: task.token,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      DISABLE_AUTOUPDATER: "1",
      DISABLE_TELEMETRY: "1",
      DISABLE_ERROR_REPORTING: "1",
      CLAUDE_CODE_MAX_RETRIES: ATTEMPTS_MAX,
      API_TIMEOUT_MS: ANSWER_MS,
    },
    stdin: wordsFor(task),
    files: { "/etc/claude-code/managed-settings.json": canonicalize(managedSettings()) },
    masked: [".claude", ".mcp.json", ".claude.json", ".claude-plugin"],
  };
}

/** What nothing else that the program reads can take back. */
export function managedSettings(command: string = hookCommand(DENIAL)): JsonObject {
  const hooks = [{ type: "command", command, timeout: HOOK_SECONDS, onFailure: "block" }];
  const always = [{ matcher: "*", hooks }];
  return {
    allowManagedHooksOnly: true,
    allowManagedPermissionRulesOnly: true,
    disableAllHooks: false,
    permissions: { disableBypassPermissionsMode: "disable" },
    hooks: { PreToolUse: always, PostToolUse: always },
  };
}
