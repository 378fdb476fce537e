import { canonicalize, type JsonObject } from "@sovereign/core";
import type { AgentCanary } from "../../adapter.ts";

const MODEL = "canary";

/**
 * A made-up model's answers: one call of a tool that every run has, and an end. The call would leave
 * a file; it is denied, and the file is looked for.
 */
export function canary(id: string, file: string): AgentCanary {
  const input = { command: `echo ran > ${file}`, description: "canary" };
  return {
    first: stream("tool_use", [
      {
        type: "content_block_start",
        index: 0,
        content_block: { type: "tool_use", id, name: "Bash", input: {} },
      },
      {
        type: "content_block_delta",
        index: 0,
        delta: { type: "input_json_delta", partial_json: canonicalize(input) },
      },
      { type: "content_block_stop", index: 0 },
    ]),
    second: stream("end_turn", [
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "ended" } },
      { type: "content_block_stop", index: 0 },
    ]),
  };
}

function stream(
  stopReason: string,
  blocks: readonly (JsonObject & { readonly type: string })[],
): string {
  const message = {
    id: "msg_canary",
    type: "message",
    role: "assistant",
    model: MODEL,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 1, output_tokens: 1 },
  };
  const events: (JsonObject & { readonly type: string })[] = [
    { type: "message_start", message },
    ...blocks,
    {
      type: "message_delta",
      delta: { stop_reason: stopReason, stop_sequence: null },
      usage: { output_tokens: 1 },
    },
    { type: "message_stop" },
  ];
  return events.map((one) => `event: ${one.type}\ndata: ${canonicalize(one)}\n\n`).join("");
}
