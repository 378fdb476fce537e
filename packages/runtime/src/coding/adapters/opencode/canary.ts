import { canonicalize, type JsonObject } from "@sovereign/core";
import type { AgentCanary } from "../../adapter.ts";

/** Chat Completions of a made-up model: a command that is denied, and an end. */
export function canary(id: string, file: string): AgentCanary {
  const args = canonicalize({ command: `echo ran > ${file}`, description: "canary" });
  const call = { index: 0, id, type: "function", function: { name: "bash", arguments: args } };
  return {
    first: stream({ role: "assistant", tool_calls: [call] }, "tool_calls"),
    second: stream({ role: "assistant", content: "ended" }, "stop"),
  };
}

function stream(delta: JsonObject, reason: string): string {
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  const chunks: JsonObject[] = [
    { choices: [{ index: 0, delta, finish_reason: null }] },
    { choices: [{ index: 0, delta: {}, finish_reason: reason }] },
    { choices: [], usage },
  ];
  const head = { id: "canary", object: "chat.completion.chunk", created: 1, model: "canary" };
  const lines = chunks.map((one) => `data: ${canonicalize({ ...head, ...one })}\n\n`);
  return `${lines.join("")}data: [DONE]\n\n`;
}
