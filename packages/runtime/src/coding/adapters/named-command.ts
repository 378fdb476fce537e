import type { AgentTask } from "../adapter.ts";
import { MODEL_PORT } from "../inside-paths.ts";

/** What stands for the task in the words of a command. */
const TASK = "{task}";
/** The model of a command that chooses its own. */
export const OWN_MODEL = "own";

/** By which well known agents are configured by a repository. */
export const MASKED: readonly string[] = [
  ...[".claude", ".claude.json", ".claude-plugin", ".mcp.json", ".codex", ".gemini", ".qwen"],
  ...[".opencode", "opencode.json", "opencode.jsonc", ".goose", ".crush", "crush.json"],
  ...[".crush.json", ".cursor", ".vibe", ".kimi", ".rovodev"],
];

/** The names by which programs look for a model: the proxy, and the token of this run. */
export function modelNames({ model, token }: AgentTask): Record<string, string> {
  const base = `http://127.0.0.1:${MODEL_PORT}`;
  return {
    ANTHROPIC_BASE_URL: base,
    ANTHROPIC_API_KEY: token,
    OPENAI_BASE_URL: `${base}/v1`,
    OPENAI_API_BASE: `${base}/v1`,
    OPENAI_API_KEY: token,
    ...(model === OWN_MODEL ? {} : { ANTHROPIC_MODEL: model, OPENAI_MODEL: model }),
  };
}

/** The words of a command, with the task where they say so. */
export function wordsWith({ command, prompt }: AgentTask): string[] {
  return command.map((word) => word.replaceAll(TASK, () => prompt));
}
