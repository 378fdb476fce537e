import { createHash } from "node:crypto";
import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";
import { readJson, readText } from "../inside/plain-json.ts";

export interface LlmInput {
  readonly vendor: string;
  readonly model: string;
  readonly system?: string | undefined;
  readonly prompt: string;
  readonly max_tokens: number;
  readonly temperature?: number | undefined;
}

/** What stands in the ledger; what is longer is an artifact alone. */
const INLINE_BYTES_MAX = 12 * 1024;

/** One question and one answer, through the model proxy, which counts what it costs. */
export async function runLlmInvoke(input: LlmInput, call: HostCall): Promise<HostEnd> {
  const { path, body } = questionOf(input, call.modelWire);
  const { status, bytes } = await call.model(path, body);
  const answer = readJson(readText(bytes) ?? "");
  if (status !== 200) {
    const message = textOf(objectOf(objectOf(answer)["error"])["message"]) ?? `status ${status}`;
    throw new SkillFailure(`the model did not answer: ${message.slice(0, 500)}`);
  }
  const found = readAnswer(objectOf(answer), call.modelWire);
  const text = Buffer.from(found.text);
  const value = {
    text: text.length <= INLINE_BYTES_MAX ? found.text : null,
    stop_reason: found.stopReason,
    bytes: text.length,
    sha256: createHash("sha256").update(text).digest("hex"),
  };
  return { value, keep: [{ name: "answer.txt", type: "text/plain; charset=utf-8", bytes: text }] };
}

function questionOf(
  { model, system, prompt, max_tokens, temperature }: LlmInput,
  wire: string,
): { path: string; body: object } {
  const heat = temperature === undefined ? {} : { temperature };
  const asked = { role: "user", content: prompt };
  if (wire === "anthropic_messages") {
    const rules = system === undefined ? {} : { system };
    return {
      path: "/v1/messages",
      body: { model, max_tokens, messages: [asked], ...rules, ...heat },
    };
  }
  if (wire === "openai_responses") {
    const rules = system === undefined ? {} : { instructions: system };
    const body = { model, max_output_tokens: max_tokens, input: prompt, store: false };
    return { path: "/v1/responses", body: { ...body, ...rules, ...heat } };
  }
  const rules = system === undefined ? [] : [{ role: "system", content: system }];
  const body = { model, max_tokens, messages: [...rules, asked], ...heat };
  return { path: "/v1/chat/completions", body };
}

type Loose = Readonly<Record<string, unknown>>;

function objectOf(value: unknown): Loose {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Loose)
    : {};
}

function listOf(value: unknown): Loose[] {
  return Array.isArray(value) ? value.map(objectOf) : [];
}

function readAnswer(answer: Loose, wire: string): { text: string; stopReason: string | null } {
  if (wire === "anthropic_messages") {
    const texts = listOf(answer["content"]).filter((one) => one["type"] === "text");
    return { text: joined(texts), stopReason: textOf(answer["stop_reason"]) };
  }
  if (wire === "openai_responses") {
    const parts = listOf(answer["output"]).flatMap((one) => listOf(one["content"]));
    const texts = parts.filter((one) => one["type"] === "output_text");
    return { text: joined(texts), stopReason: textOf(answer["status"]) };
  }
  const [choice = {}] = listOf(answer["choices"]);
  const text = textOf(objectOf(choice["message"])["content"]) ?? "";
  return { text, stopReason: textOf(choice["finish_reason"]) };
}

function joined(parts: readonly Loose[]): string {
  return parts.map((one) => textOf(one["text"]) ?? "").join("");
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
