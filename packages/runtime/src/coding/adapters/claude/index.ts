import type { InstalledAgent } from "../../adapter.ts";
import { judgeEnd } from "../../judge-calls.ts";
import { canary } from "./canary.ts";
import { answer, asks, hook } from "./hooks.ts";
import { parse } from "./parse.ts";
import { CLAUDE, prepare } from "./prepare.ts";

/** Claude Code, by its own headless mode, its stream of JSON lines and its managed hooks. */
export const claude: InstalledAgent = {
  name: "claude",
  hooks: "proved",
  packages: {
    package: "@anthropic-ai/claude-code",
    program: (architecture) => ({
      package: `@anthropic-ai/claude-code-linux-${architecture}`,
      file: "claude",
    }),
    // Before 2.1.314 some settings of the repository got through.
    versions: { from: "2.1.314", to: "2.1.329" },
  },
  defaultModel: "claude-sonnet-4-5",
  wire: "anthropic_messages",
  mountedAt: CLAUDE,
  keeps: ["projects"],
  prepare,
  parse,
  // This program ends with exit 0 and `success` after a call that was denied.
  classify: judgeEnd,
  hook,
  answer,
  asks,
  canary,
  tookDenial: ({ events }, mark) =>
    events.some((one) => one.kind === "tool_result" && !one.ran && one.mark === mark),
};
