import { SovereignError } from "@sovereign/core";
import type { AgentAdapter } from "../adapter.ts";
import { claude } from "./claude/index.ts";

/** Every agent that we can have at work. One more is its folder, and a line here. */
export const ADAPTERS: readonly AgentAdapter[] = [claude];

/** @throws ERR_AGENT_UNKNOWN */
export function adapterOf(name: string): AgentAdapter {
  const found = ADAPTERS.find((one) => one.name === name);
  if (found !== undefined) return found;
  const known = ADAPTERS.map((one) => one.name).join(", ");
  const text = `Expected an agent of: ${known}. Found ${name.slice(0, 60)}; the others are not built yet.`;
  throw new SovereignError("ERR_AGENT_UNKNOWN", text);
}
