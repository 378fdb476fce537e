import { cutText } from "@sovereign/core";
import type { AgentAdapter, AgentEnd, AgentOutcome } from "../../adapter.ts";
import { MASKED, modelNames, OWN_MODEL, wordsWith } from "../named-command.ts";

const LINE_CHARS = 2000;

/**
 * Any program. It asks nobody: the sandbox and the judged diff are all that bounds it. It gets the task
 * where its words say so, and on standard input.
 */
export const custom: AgentAdapter = {
  name: "custom",
  hooks: "none",
  defaultModel: OWN_MODEL,
  wire: null,
  prepare: (task) => ({
    argv: wordsWith(task),
    env: modelNames(task),
    stdin: task.prompt,
    files: {},
    masked: MASKED,
  }),
  parse: (line) => [{ kind: "text", text: cutText(line, LINE_CHARS) }],
  classify,
  // Nobody is asked: what comes to the run's socket is from no hook of ours.
  hook: () => null,
  answer: () => "{}",
  asks: () => null,
};

function classify({ exitCode }: AgentEnd): AgentOutcome {
  if (exitCode === 0) return { ok: true };
  return { ok: false, code: "ERR_AGENT_FAILED", reason: `exit ${String(exitCode)}` };
}
