import type { JsonObject } from "@sovereign/core";
import type {
  ScriptedRequest,
  ScriptedTool,
  ScriptedTurn,
  ScriptedUsage,
} from "./scripted-model.ts";
import { type Out, piecesOf } from "./scripted-out.ts";

/** OpenAI's Responses. */
export async function writeResponses(
  out: Out,
  { index, body }: ScriptedRequest,
  turn: ScriptedTurn,
  usage: ScriptedUsage,
): Promise<void> {
  const items = itemsOf(index, turn);
  const response = { id: `resp_${index}`, object: "response", model: body["model"] ?? "scripted" };
  const said = out.counts({
    input_tokens: usage.input,
    input_tokens_details: { cached_tokens: usage.cacheRead ?? 0 },
    output_tokens: usage.output,
    output_tokens_details: { reasoning_tokens: usage.reasoning ?? 0 },
    total_tokens: usage.input + usage.output,
  });
  const whole = { ...response, status: "completed", output: items, usage: said };
  if (!out.streams) {
    out.whole(whole);
    return;
  }
  let sequence = 0;
  const event = (type: string, data: JsonObject): Promise<void> =>
    out.event(type, { type, sequence_number: sequence++, ...data });
  const begun = { ...response, status: "in_progress", output: [], usage: null };
  await event("response.created", { response: begun });
  await event("response.in_progress", { response: begun });
  if (out.failsInStream) {
    const error = { code: "server_error", message: "scripted failure" };
    await event("response.failed", { response: { ...begun, status: "failed", error } });
    await out.end();
    return;
  }
  for (const [at, item] of items.entries()) await writeItem(event, at, item, turn);
  await event("response.completed", { response: whole });
  await out.end();
}

function itemsOf(index: number, { text, tools = [] }: ScriptedTurn): JsonObject[] {
  const said =
    text === undefined
      ? []
      : [
          {
            id: `msg_${index}`,
            type: "message",
            role: "assistant",
            status: "completed",
            content: [{ type: "output_text", text, annotations: [] }],
          },
        ];
  return [...said, ...tools.map((tool, at) => callOf(`${index}_${at}`, tool))];
}

function callOf(id: string, { name, input, text }: ScriptedTool): JsonObject {
  const call = { call_id: `call_${id}`, name, status: "completed" };
  if (text !== undefined)
    return { id: `ctc_${id}`, type: "custom_tool_call", ...call, input: text };
  const args = JSON.stringify(input);
  return { id: `fc_${id}`, type: "function_call", ...call, arguments: args };
}

async function writeItem(
  event: (type: string, data: JsonObject) => Promise<void>,
  index: number,
  item: JsonObject,
  turn: ScriptedTurn,
): Promise<void> {
  const place = { item_id: item["id"] ?? "", output_index: index };
  await event("response.output_item.added", {
    output_index: index,
    item: { ...item, status: "in_progress" },
  });
  if (item["type"] === "message") {
    for (const delta of piecesOf(turn)) {
      await event("response.output_text.delta", { ...place, content_index: 0, delta });
    }
    const { text = "" } = turn;
    await event("response.output_text.done", { ...place, content_index: 0, text });
  } else if (item["type"] === "function_call") {
    const { arguments: args = "" } = item;
    await event("response.function_call_arguments.delta", { ...place, delta: args });
    await event("response.function_call_arguments.done", { ...place, arguments: args });
  }
  await event("response.output_item.done", { output_index: index, item });
}
