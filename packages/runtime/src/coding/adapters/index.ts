import { SovereignError } from "@sovereign/core";
import type { AgentAdapter, InstalledAgent } from "../adapter.ts";
import { acp } from "./acp/index.ts";
import { claude } from "./claude/index.ts";
import { codex } from "./codex/index.ts";
import { custom } from "./custom/index.ts";
import { openCode } from "./opencode/index.ts";

/** Every agent whose program we know. One more is its folder, and a line here. */
export const INSTALLED: readonly InstalledAgent[] = [claude, codex, openCode];

/** Every agent that we can have at work. */
export const ADAPTERS: readonly AgentAdapter[] = [...INSTALLED, acp, custom];

/** @throws ERR_AGENT_UNKNOWN */
export function adapterOf(name: "claude" | "codex" | "opencode"): InstalledAgent;
export function adapterOf(name: string): AgentAdapter;
export function adapterOf(name: string): AgentAdapter {
  const found = ADAPTERS.find((one) => one.name === name);
  if (found !== undefined) return found;
  const known = ADAPTERS.map((one) => one.name).join(", ");
  const text = `Expected an agent of: ${known}. Found ${name.slice(0, 60)}. Another program works by: agent run custom --command "PROGRAM {task}", or, if it speaks the Agent Client Protocol, by: agent run acp --command PROGRAM`;
  throw new SovereignError("ERR_AGENT_UNKNOWN", text);
}
