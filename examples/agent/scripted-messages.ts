import type { JsonObject } from "@sovereign/core";
import type { ScriptedRequest, ScriptedTurn, ScriptedUsage } from "./scripted-model.ts";
import { type Out, piecesOf } from "./scripted-out.ts";

/** Anthropic's Messages. */
export async function writeMessages(
  out: Out,
  { index, body }: ScriptedRequest,
  turn: ScriptedTurn,
  usage: ScriptedUsage,
): Promise<void> {
  const { cacheRead = 0, cacheWrite = 0 } = usage;
  const counts = {
    input_tokens: usage.input - cacheRead - cacheWrite,
    cache_read_input_tokens: cacheRead,
    cache_creation_input_tokens: cacheWrite,
  };
  const reason = (turn.tools ?? []).length > 0 ? "tool_use" : "end_turn";
  const message = {
    id: `msg_${index}`,
    type: "message",
    role: "assistant",
    model: body["model"] ?? "scripted",
    stop_sequence: null,
  };
  const blocks = blocksOf(index, turn);
  if (!out.streams) {
    const said = out.counts({ ...counts, output_tokens: usage.output });
    out.whole({ ...message, content: blocks, stop_reason: reason, usage: said });
    return;
  }
  const start = { ...counts, output_tokens: 1 };
  await out.event("message_start", {
    type: "message_start",
    message: { ...message, content: [], stop_reason: null, usage: start },
  });
  await out.event("ping", { type: "ping" });
  if (out.failsInStream) {
    const error = { type: "overloaded_error", message: "Overloaded" };
    await out.event("error", { type: "error", error });
    await out.end();
    return;
  }
  for (const [at, block] of blocks.entries()) await writeBlock(out, at, block, turn);
  await out.event("message_delta", {
    type: "message_delta",
    delta: { stop_reason: reason, stop_sequence: null },
    usage: out.counts({ output_tokens: usage.output }) ?? {},
  });
  await out.event("message_stop", { type: "message_stop" });
  await out.end();
}

function blocksOf(index: number, { text, tools = [] }: ScriptedTurn): JsonObject[] {
  const said = text === undefined ? [] : [{ type: "text", text }];
  const calls = tools.map(({ name, input }, at) => ({
    type: "tool_use",
    id: `toolu_${index}_${at}`,
    name,
    input,
  }));
  return [...said, ...calls];
}

async function writeBlock(
  out: Out,
  index: number,
  block: JsonObject,
  turn: ScriptedTurn,
): Promise<void> {
  const isText = block["type"] === "text";
  const empty = isText ? { ...block, text: "" } : { ...block, input: {} };
  await out.event("content_block_start", {
    type: "content_block_start",
    index,
    content_block: empty,
  });
  const deltas = isText
    ? piecesOf(turn).map((text) => ({ type: "text_delta", text }))
    : [{ type: "input_json_delta", partial_json: JSON.stringify(block["input"]) }];
  for (const delta of deltas) {
    await out.event("content_block_delta", { type: "content_block_delta", index, delta });
  }
  await out.event("content_block_stop", { type: "content_block_stop", index });
}
