import type { InstalledAgent } from "../../adapter.ts";
import { judgeEnd } from "../../judge-calls.ts";
import { canary } from "./canary.ts";
import { answer, asks, hook } from "./hooks.ts";
import { parse } from "./parse.ts";
import { DEFAULT_MODEL, isAnthropic, OPENCODE, prepare } from "./prepare.ts";

/** OpenCode, by `opencode run`, its stream of JSON lines and a plugin of ours. */
export const openCode: InstalledAgent = {
  name: "opencode",
  hooks: "proved",
  packages: {
    package: "opencode-ai",
    program: (architecture) => ({
      package: `opencode-linux-${architecture}`,
      file: "bin/opencode",
    }),
    versions: { from: "1.18.33", to: "1.18.33" },
  },
  defaultModel: DEFAULT_MODEL,
  wire: "openai_chat",
  wireOf: (model) => (isAnthropic(model) ? "anthropic_messages" : "openai_chat"),
  mountedAt: OPENCODE,
  keeps: ["opencode"],
  prepare,
  parse,
  // This program ends with exit 0 after a call that was denied.
  classify: judgeEnd,
  hook,
  answer,
  asks,
  canary,
  tookDenial: ({ events }, mark) =>
    events.some((one) => one.kind === "tool_result" && one.mark === mark && !one.ran),
};
