import type { ToolTaskPack, ToolType } from "../formats/index.ts";

/** The seed names one of the tools otherwise than its command does. */
const CLAUDE = "claude";

/** The name of the agent that does a tool's work. */
export function agentOfTool(tool: ToolType): string {
  return tool === "claude_cli" ? CLAUDE : tool;
}

/** The tool's name for packs; null for an agent that packs do not know. */
export function toolOfAgent(agent: string): ToolType | null {
  if (agent === CLAUDE) return "claude_cli";
  const known: readonly ToolType[] = ["codex", "opencode", "acp", "custom"];
  return known.find((one) => one === agent) ?? null;
}

/**
 * The words that the tool is given. A pack with one goal and nothing else gives that goal alone.
 *
 * @param pack its texts are untrusted; the tool reads them as its task
 */
export function promptOfPack({ steps, prompt_pack: prompts }: ToolTaskPack): string {
  const { system_prompt: system = null, red_lines: lines, examples = [] } = prompts;
  const goals = steps.map(({ step_id: id, goal, constraints, expected_artifacts: files = [] }) => {
    const { must = [], must_not: mustNot = [] } = constraints ?? {};
    const more = [
      ...listed("You must:", must),
      ...listed("You must not:", mustNot),
      ...listed("Files that the result must have:", files),
    ];
    const title = steps.length === 1 ? [] : [`Step ${id}:`];
    return [...title, goal, ...more].join("\n");
  });
  const parts = [
    ...(system === null || system === "" ? [] : [system]),
    ...goals,
    ...section("Red lines, which nothing allows you to cross:", lines),
    ...examples.map((one) => `Example:\n${one}`),
  ];
  return parts.join("\n\n");
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [listed(title, lines).join("\n")];
}

function listed(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `- ${line}`)];
}

/** The commands that have to succeed on the result, each once, in their order. */
export function commandsOfPack({ steps, acceptance }: ToolTaskPack): string[] {
  const all = [...steps.flatMap((one) => one.verification_commands ?? []), ...acceptance.tests];
  return [...new Set(all)];
}

/** How long the tool may take; null where the policy alone says so. */
export function timeoutOfPack({ limits, metadata }: ToolTaskPack): number | null {
  const seconds = limits?.timeout_seconds ?? null;
  const minutes = metadata?.timeout_minutes;
  const named = minutes === undefined ? null : minutes * 60;
  if (seconds === null || named === null) return seconds ?? named;
  return Math.min(seconds, named);
}

/** Words that no shell changes are a command of these words; anything else is one of the shell's. */
export function wordsOfCommand(command: string): string[] {
  if (!/^[A-Za-z0-9_@%+=:,./ -]+$/.test(command) || command.trim() === "") {
    return ["bash", "-c", command];
  }
  return command.trim().split(/ +/);
}
