import { type ErrorRow, row } from "../kinds.ts";

/** Codes of coding agents that work under our law. */
export const agentsCodes = {
  ERR_AGENT_UNKNOWN: row.input("There is no adapter for an agent of this name."),
  ERR_AGENT_MISSING: row.input("The agent's program is not installed."),
  ERR_AGENT_VERSION: row.denied("The agent's program is of a version that was not tested."),
  ERR_AGENT_HOOK: row.denied("The agent did not ask before a tool call, so it may not work."),
  ERR_AGENT_DENIED: row.denied("The agent ended at a tool call that policy denied."),
  ERR_AGENT_FAILED: row.fatal("The agent ended without success."),
  ERR_AGENT_TOOL_FAILED: row.fatal("A tool call ended, and nobody said how."),
  ERR_TOOL_PACK_INVALID: row.input("The pack of a tool is not of its format, or cannot be used."),
  ERR_AGENT_DISCARDED: row.denied("The agent's result was discarded."),
} as const satisfies Record<string, ErrorRow>;
