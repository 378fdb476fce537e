import { canonicalize, type JsonObject } from "@sovereign/core";
import type { AgentTask, PreparedAgent } from "../../adapter.ts";
import { INSIDE, MODEL_PORT } from "../../inside-paths.ts";
import { wordsFor } from "../../task-words.ts";
import { PERMISSIONS } from "./tools.ts";

/** Where the program is seen inside. */
export const OPENCODE = "/agent/opencode";
export const DEFAULT_MODEL = "claude-sonnet-4-5";
/** What the program calls the model proxy. */
const VENDOR = "sovereign";
/** The folder of settings that stand above those of users and repositories. */
const MANAGED = "/etc/opencode";
const CONTEXT_TOKENS = 128_000;
const OUTPUT_TOKENS = 16_000;

/**
 * The user's settings are not there, those of the repository are hidden, and ours are read-only. The
 * plugin asks before each call; a tool that policy does not name is not offered at all.
 */
export function prepare(task: AgentTask): PreparedAgent {
  const words = ["run", "--format", "json", "--title", "task", "--model", modelOf(task)];
  return {
    argv: [OPENCODE, ...words, ...(task.resume === undefined ? [] : ["--session", task.resume])],
    ...settingsOf(task, { plugin: [`file://${INSIDE.openCodePlugin}`], rule: "allow" }),
    stdin: wordsFor(task),
  };
}

/**
 * Where the program finds its settings, and what they are.
 * @param mode whether a plugin judges the calls, or the program asks its client
 */
export function settingsOf(
  task: AgentTask,
  mode: { readonly plugin: readonly string[]; readonly rule: "allow" | "ask" },
): Pick<PreparedAgent, "env" | "files" | "masked" | "needsMasks"> {
  return {
    env: {
      XDG_DATA_HOME: INSIDE.session,
      OPENCODE_DISABLE_PROJECT_CONFIG: "1",
      OPENCODE_DISABLE_MODELS_FETCH: "1",
      OPENCODE_DISABLE_AUTOUPDATE: "1",
      OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
      OPENCODE_DISABLE_DEFAULT_PLUGINS: "1",
      OPENCODE_DISABLE_EXTERNAL_SKILLS: "1",
      OPENCODE_DISABLE_CLAUDE_CODE: "1",
      OPENCODE_DISABLE_EMBEDDED_WEB_UI: "1",
      OPENCODE_EXPERIMENTAL_DISABLE_FILEWATCHER: "1",
    },
    files: {
      [`${MANAGED}/opencode.json`]: canonicalize(settings(task, mode)),
      // The program makes this one itself, and installs packages from the network, where it can write.
      "/home/agent/.config/opencode/.gitignore": "*\n",
    },
    masked: [".opencode", "opencode.json", "opencode.jsonc"],
    // Plugins of the repository's run in the program's own process, whatever is switched off.
    needsMasks: true,
  };
}

function settings(
  task: AgentTask,
  { plugin, rule }: { readonly plugin: readonly string[]; readonly rule: "allow" | "ask" },
): JsonObject {
  const base = { $schema: "https://opencode.ai/config.json", autoupdate: false, share: "disabled" };
  const model = modelOf(task);
  return {
    ...base,
    // A formatter is a program of the repository's, and a language server one of the network's.
    ...{ snapshot: false, lsp: false, formatter: false },
    ...{ model, small_model: model, enabled_providers: [VENDOR] },
    provider: { [VENDOR]: providerOf(task) },
    plugin: [...plugin],
    permission: permissionsOf(task.tools, rule),
    experimental: { continue_loop_on_deny: true },
  };
}

function modelOf({ model }: AgentTask): string {
  return `${VENDOR}/${model}`;
}

/** Claude's models are spoken to as Anthropic does, all others by Chat Completions. */
export function isAnthropic(model: string): boolean {
  return model.startsWith("claude");
}

function providerOf({ model, token }: AgentTask): JsonObject {
  return {
    npm: isAnthropic(model) ? "@ai-sdk/anthropic" : "@ai-sdk/openai-compatible",
    name: VENDOR,
    options: { baseURL: `http://127.0.0.1:${MODEL_PORT}/v1`, apiKey: token },
    models: {
      [model]: {
        name: model,
        tool_call: true,
        limit: { context: CONTEXT_TOKENS, output: OUTPUT_TOKENS },
      },
    },
  };
}

/** The last rule that fits counts, so the one for everything else stands first. */
function permissionsOf(tools: readonly string[], rule: "allow" | "ask"): JsonObject {
  const named = Object.entries(PERMISSIONS).filter(([, ours]) =>
    ours.some((tool) => tools.includes(tool)),
  );
  return {
    "*": "deny",
    ...Object.fromEntries(named.map(([permission]) => [permission, rule])),
    // These two are asked besides the tool's own, which is judged with its arguments.
    external_directory: "allow",
    doom_loop: "allow",
  };
}
