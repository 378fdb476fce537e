import { cutText, type ErrorCode, type JsonObject, SovereignError } from "@sovereign/core";
import { type RefusedHost, refusedWords } from "../agents/index.ts";
import type { EffectResult } from "../kernel/index.ts";
import type { SandboxResult } from "../sandbox/index.ts";
import type { AgentAdapter, AgentEnd, AgentEvent } from "./adapter.ts";
import { HELPER_GONE } from "./agent-sandbox.ts";

const TEXT_CHARS = 2000;

/** What was not let through while an agent worked; null for nothing. */
export interface AgentRefusals {
  /** The model's last call. */
  readonly model: { readonly code: ErrorCode; readonly reason: string } | null;
  /** The last connection to a host. */
  readonly host: RefusedHost | null;
}

/**
 * What an agent's end comes to.
 *
 * @param broken aborted with a reason where the run could not go on
 * @returns null where it ended well
 */
export function failureOfAgent(
  adapter: AgentAdapter,
  end: SandboxResult,
  told: Omit<AgentEnd, "exitCode">,
  broken: AbortSignal,
  refused: AgentRefusals,
): EffectResult | null {
  if (broken.aborted) return brokenOff(broken.reason);
  if (end.ended !== "exited") {
    const code = LIMIT_CODES[end.ended] ?? "ERR_EFFECT_KILLED";
    const after = `${end.ended} after ${Math.round(end.wallMs)} ms`;
    return { status: "killed", code, reason: `the agent was ended: ${after}` };
  }
  const { exitCode } = end;
  if (exitCode === HELPER_GONE) {
    const reason = `${adapter.name}: the relay to its model was killed before the agent ended`;
    return { status: "failed", code: "ERR_AGENT_FAILED", reason };
  }
  const outcome = adapter.classify({ ...told, exitCode });
  if (outcome.ok) return null;
  if (outcome.code !== "ERR_AGENT_FAILED") {
    return { status: "failed", code: outcome.code, reason: `${adapter.name}: ${outcome.reason}` };
  }
  if (refused.model !== null) {
    const { code, reason: why } = refused.model;
    const reason = `${adapter.name} ended after its model call was refused: ${why}`;
    return { status: "failed", code, reason };
  }
  const last = lastOf(end.stderr);
  const said = `${last === "" ? "" : `; ${last}`}${refusedWords(refused.host)}`;
  const reason = `${adapter.name}: ${outcome.reason}${said}`;
  return { status: "failed", code: outcome.code, reason };
}

function brokenOff(error: unknown): EffectResult {
  if (error instanceof SovereignError) {
    return { status: "failed", code: error.code, reason: error.message };
  }
  const reason = error instanceof Error ? error.message : "the run cannot go on";
  return { status: "failed", code: "ERR_AGENT_FAILED", reason };
}

const LIMIT_CODES: Readonly<Partial<Record<SandboxResult["ended"], ErrorCode>>> = {
  wall_clock: "ERR_COMMAND_TIMEOUT",
  cpu_limit: "ERR_COMMAND_CPU",
  memory_limit: "ERR_COMMAND_MEMORY",
  process_limit: "ERR_COMMAND_PROCESSES",
  output_limit: "ERR_COMMAND_OUTPUT",
};

/** The end of a hostile log, as one printable line. */
export function lastOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(-4000)).toString("utf8");
  return text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(-500);
}

/** What an agent says of its work: nobody looked. @param text the last that it said */
export function claimsOf(events: readonly AgentEvent[], text: string): JsonObject | null {
  const result = events.findLast((one) => one.kind === "result");
  if (result === undefined) return null;
  const used = events.filter((one) => one.kind === "used");
  const sum = (count: (one: (typeof used)[number]) => number): number =>
    used.reduce((total, one) => total + count(one), 0);
  return {
    text: cutText(result.text === "" ? text : result.text, TEXT_CHARS),
    turns: result.turns ?? (used.length === 0 ? null : used.length),
    input_tokens: result.inputTokens + sum((one) => one.inputTokens),
    output_tokens: result.outputTokens + sum((one) => one.outputTokens),
    cost_usd: result.costUsd,
    ...claimedVersion(events),
  };
}

function claimedVersion(events: readonly AgentEvent[]): JsonObject {
  const version = events.find((one) => one.kind === "started")?.version ?? "";
  return version === "" ? {} : { version: cutText(version, 60) };
}
