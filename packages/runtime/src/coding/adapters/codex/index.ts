import type { InstalledAgent } from "../../adapter.ts";
import { judgeEnd } from "../../judge-calls.ts";
import { canary } from "./canary.ts";
import { answer, asks, hook } from "./hooks.ts";
import { parse } from "./parse.ts";
import { CODEX, prepare } from "./prepare.ts";

const MACHINES: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

/** Codex, by `codex exec`, its stream of JSON lines and its managed hooks. */
export const codex: InstalledAgent = {
  name: "codex",
  hooks: "proved",
  packages: {
    package: "@openai/codex",
    program: (architecture) => ({
      package: `@openai/codex-linux-${architecture}`,
      file: `vendor/${MACHINES[architecture] ?? architecture}-unknown-linux-musl/bin/codex`,
      // Models of the newer kind call its tools out of a program of their own, which this one runs.
      beside: ["codex-code-mode-host"],
      suffix: `-linux-${architecture}`,
    }),
    versions: { from: "0.171.0", to: "0.171.0" },
  },
  defaultModel: "gpt-5.5",
  wire: "openai_responses",
  mountedAt: CODEX,
  keeps: ["sessions"],
  prepare,
  parse,
  // This program ends with exit 0 after a call that was denied, and its output does not name the call.
  classify: judgeEnd,
  hook,
  answer,
  asks,
  canary,
  tookDenial: ({ events }, mark) =>
    events.some((one) => one.kind === "result" && one.ok) &&
    !events.some((one) => "mark" in one && one.mark === mark),
};
