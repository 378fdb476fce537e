import type { JsonObject, JsonValue } from "@sovereign/core";
import type { ScriptedRequest, ScriptedTurn, ScriptedUsage } from "./scripted-model.ts";
import { type Out, piecesOf } from "./scripted-out.ts";

/** Chat Completions. */
export async function writeChat(
  out: Out,
  { index, body }: ScriptedRequest,
  turn: ScriptedTurn,
  usage: ScriptedUsage,
): Promise<void> {
  const counts = out.counts(countsOf(usage));
  const head = { id: `chatcmpl-${index}`, created: 1, model: body["model"] ?? "scripted" };
  const calls = callsOf(index, turn);
  const reason = calls.length > 0 ? "tool_calls" : "stop";
  if (!out.streams) {
    const { text = null } = turn;
    const said = { role: "assistant", content: text };
    const message = calls.length === 0 ? said : { ...said, tool_calls: calls };
    const choices = [{ index: 0, message, finish_reason: reason }];
    out.whole({ ...head, object: "chat.completion", choices, usage: counts });
    return;
  }
  const chunk = (delta: JsonObject, finish: JsonValue = null): Promise<void> =>
    out.event(null, {
      ...head,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, finish_reason: finish }],
    });
  await chunk({ role: "assistant", content: "" });
  if (out.failsInStream) {
    await out.event(null, { error: { message: "scripted failure", type: "server_error" } });
    await out.end();
    return;
  }
  for (const content of piecesOf(turn)) await chunk({ content });
  for (const [at, call] of calls.entries()) await chunk({ tool_calls: [{ index: at, ...call }] });
  await chunk({}, reason);
  const options = body["stream_options"] as JsonObject | undefined;
  if (options?.["include_usage"] === true) {
    const last = { ...head, object: "chat.completion.chunk", choices: [], usage: counts };
    await out.event(null, last);
  }
  await out.event(null, "[DONE]");
  await out.end();
}

function callsOf(index: number, { tools = [] }: ScriptedTurn): JsonObject[] {
  return tools.map(({ name, input }, at) => ({
    id: `call_${index}_${at}`,
    type: "function",
    function: { name, arguments: JSON.stringify(input) },
  }));
}

function countsOf({ input, output, cacheRead = 0, reasoning = 0 }: ScriptedUsage): JsonObject {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cacheRead },
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}
