import { canonicalize, type JsonObject } from "@sovereign/core";
import type { AgentCanary } from "../../adapter.ts";

/** A made-up model's answers: one call of the shell, which every run has, and an end. */
export function canary(id: string, file: string): AgentCanary {
  const call = {
    ...{ id: "fc_canary", type: "function_call", status: "completed" },
    ...{ call_id: id, name: "exec_command" },
    arguments: canonicalize({ cmd: `echo ran > ${file}` }),
  };
  const content = [{ type: "output_text", text: "ended", annotations: [] }];
  const message = {
    ...{ id: "msg_canary", type: "message", status: "completed" },
    ...{ role: "assistant", content },
  };
  return { first: stream(call), second: stream(message) };
}

function stream(item: JsonObject): string {
  const response = { id: "resp_canary", object: "response", model: "canary" };
  const usage = {
    input_tokens: 1,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 1,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 2,
  };
  const begun = { ...response, status: "in_progress", output: [] };
  const whole = { ...response, status: "completed", output: [item], usage };
  const events: (JsonObject & { readonly type: string })[] = [
    { type: "response.created", response: begun },
    { type: "response.output_item.added", output_index: 0, item },
    { type: "response.output_item.done", output_index: 0, item },
    { type: "response.completed", response: whole },
  ];
  return events.map((one) => `event: ${one.type}\ndata: ${canonicalize(one)}\n\n`).join("");
}
