import type { AgentAdapter } from "../../adapter.ts";
import { canary } from "./canary.ts";
import { classify } from "./classify.ts";
import { answer, asks, hook } from "./hooks.ts";
import { parse } from "./parse.ts";
import { CLAUDE, prepare } from "./prepare.ts";

/** Claude Code, by its own headless mode, its stream of JSON lines and its managed hooks. */
export const claude: AgentAdapter = {
  name: "claude",
  package: "@anthropic-ai/claude-code",
  program: (architecture) => ({
    package: `@anthropic-ai/claude-code-linux-${architecture}`,
    file: "claude",
  }),
  // Before 2.1.314 some settings of the repository got through.
  versions: { from: "2.1.314", to: "2.1.329" },
  defaultModel: "claude-sonnet-4-5",
  mountedAt: CLAUDE,
  prepare,
  parse,
  classify,
  hook,
  answer,
  asks,
  canary,
};
