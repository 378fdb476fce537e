import type { AgentAdapter } from "../../adapter.ts";
import { judgeEnd } from "../../judge-calls.ts";
import { OWN_MODEL } from "../named-command.ts";
import { answer, asks, hook } from "./hooks.ts";
import { parse } from "./parse.ts";
import { KEPT, prepare } from "./prepare.ts";

/** Any agent that speaks the Agent Client Protocol over its standard input and output. */
export const acp: AgentAdapter = {
  name: "acp",
  hooks: "asked",
  defaultModel: OWN_MODEL,
  wire: null,
  keeps: [KEPT],
  prepare,
  parse,
  classify: judgeEnd,
  hook,
  answer,
  asks,
};
