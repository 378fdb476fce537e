import {
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type ModelWire,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { isObject } from "./answer-readers.ts";
import type { AskedCall } from "./wire.ts";

/** An answer may have so many tokens where the request sets no limit, and never more than the second. */
const OUTPUT_DEFAULT = 32_000;
const OUTPUT_MAX = 1_000_000;
const CHOICES_MAX = 16;
/** Text has three to four bytes for a token, dense text about two. */
const BYTES_PER_TOKEN = 2;
/** What a vendor adds for tools. */
const HIDDEN_TOKENS = 1000;
/**
 * Pictures count by their area, and few bytes can be a large one: each counts as the largest. Some small
 * models of OpenAI's count tokens of pictures many times, at a price that makes up for it.
 */
const PICTURE_TOKENS = 16_384;
const PICTURE_TOKENS_BY: readonly (readonly [wire: RegExp, model: RegExp, tokens: number])[] = [
  [/^anthropic/, /./, 5_000],
  [/^openai/, /4o-mini/, 50_000],
];
/** Each page of a document counts as text and as a picture: all pages fill the model's window. */
const DOCUMENT_TOKENS = 200_000;
const MODEL = /^[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}$/;

/** How the request sets the limit of its answer. */
type OutputField = "max_tokens" | "max_output_tokens" | "max_completion_tokens";

/** Kinds of tools that the vendor itself carries out reach the network from there: they are left out. */
const OWN_TOOLS: Readonly<Record<string, RegExp>> = {
  anthropic_messages: /^(custom$|bash_|text_editor_|computer_|memory_|tool_search_tool_)/,
  anthropic_count: /^(custom$|bash_|text_editor_|computer_|memory_|tool_search_tool_)/,
  openai_responses: /^(function|custom|local_shell|apply_patch|namespace)$/,
  openai_chat: /^(function|custom)$/,
};

/** Fields by which a request means more than what stands in it, or costs more than the table says. */
const REFUSED: Readonly<Record<ModelWire, Readonly<Record<string, readonly JsonValue[]>>>> = {
  anthropic_messages: {
    mcp_servers: [[]],
    container: [],
    speed: ["standard"],
    service_tier: ["auto", "standard_only"],
    inference_geo: ["global", "not_available"],
  },
  anthropic_count: { mcp_servers: [[]] },
  openai_responses: {
    previous_response_id: [],
    conversation: [],
    prompt: [],
    background: [false],
    service_tier: ["auto", "default", "flex"],
  },
  openai_chat: {
    web_search_options: [],
    plugins: [[]],
    models: [[]],
    route: [],
    audio: [],
    // What is predicted and not said is paid for as what is said, beyond every limit.
    prediction: [],
    service_tier: ["auto", "default", "flex"],
  },
};

/**
 * Read a request of a client, and make of it what goes to the vendor.
 *
 * @param bytes untrusted
 * @param outputField how a limit is set where the request has none
 * @throws ERR_MODEL_REQUEST
 */
export function readRequest(wire: ModelWire, bytes: Buffer, outputField: OutputField): AskedCall {
  const body = parsed(bytes);
  const { model } = body;
  if (typeof model !== "string" || !MODEL.test(model)) throw refused("expected a model's name");
  refuseFields(wire, body);
  const content = body["messages"] ?? body["input"] ?? null;
  const pictures = new Pictures(pictureTokens(wire, model));
  pictures.look(content);
  removeHostedTools(wire, body);
  const outputTokensMax = limitOutput(wire, body, outputField);
  const streams = body["stream"] === true && wire !== "anthropic_count";
  if (streams && wire === "openai_chat") {
    const options = body["stream_options"];
    body["stream_options"] = { ...(isObject(options) ? options : {}), include_usage: true };
  }
  const out = Buffer.from(JSON.stringify(body));
  const text = Math.max(0, out.length - pictures.bytes);
  return {
    wire,
    model,
    streams,
    outputTokensMax,
    inputTokens: Math.ceil(text / BYTES_PER_TOKEN) + pictures.tokens + HIDDEN_TOKENS,
    cachesForAnHour: out.includes('"ttl":"1h"'),
    body: out,
  };
}

function parsed(bytes: Buffer): JsonObject {
  try {
    const body = parseStrictJson(bytes, { bytesMax: bytes.length, loneSurrogates: true });
    if (isObject(body)) return body;
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    throw new SovereignError("ERR_MODEL_REQUEST", error.message, {}, error);
  }
  throw refused("expected a JSON object");
}

function refuseFields(wire: ModelWire, body: JsonObject): void {
  for (const [name, harmless] of Object.entries(REFUSED[wire])) {
    const value = body[name];
    if (value === undefined || value === null) continue;
    const said = JSON.stringify(value);
    if (harmless.some((one) => JSON.stringify(one) === said)) continue;
    throw refused(
      `"${name}" is not passed on: a request has to hold all that it means, at the listed price`,
    );
  }
  const { model } = body;
  if (wire === "openai_chat" && typeof model === "string" && model.endsWith(":online")) {
    throw refused("a model that searches the web is not passed on");
  }
}

const NAMES: ReadonlySet<string> = new Set(["image_url", "file_url", "file_id"]);

/** A vendor fetches what a request names by URL, and knows what it names by id: neither is ours. */
class Pictures {
  /** Of pictures: they are no text. */
  bytes = 0;
  /** Of pictures and documents. */
  tokens = 0;
  readonly #each: number;

  constructor(each: number) {
    this.#each = each;
  }

  look(value: JsonValue): void {
    if (Array.isArray(value)) {
      for (const one of value) this.look(one);
      return;
    }
    if (!isObject(value)) return;
    const { type } = value;
    if (type === "item_reference") throw refused("a reference to a stored item is not passed on");
    // What a model asked a tool for is text to the vendor, whatever it looks like.
    const skipped = typeof type === "string" && type.endsWith("tool_use") ? "input" : null;
    for (const [name, one] of Object.entries(value)) this.#field(name, one, name === skipped);
  }

  #field(name: string, value: JsonValue, isText: boolean): void {
    if (NAMES.has(name)) this.#named(name, value);
    else if (name === "file_data") this.#document(value);
    else if (name === "source" && isObject(value)) this.#source(value);
    else if (!isText) this.look(value);
  }

  #named(name: string, value: JsonValue): void {
    if (value === null) return;
    const url = isObject(value) ? value["url"] : value;
    if (name === "image_url" && typeof url === "string" && url.startsWith("data:image/")) {
      this.#picture(url.length);
      return;
    }
    throw refused(`"${name}" is not passed on unless it holds the picture itself`);
  }

  #source(source: JsonObject): void {
    const { type, data, media_type: media } = source;
    if (type === "url" || type === "file") {
      throw refused(`a source of the type "${type}" is not passed on; send its bytes`);
    }
    if (type !== "base64" || typeof data !== "string" || typeof media !== "string") return;
    if (media.startsWith("image/")) this.#picture(data.length);
    else this.#document(data);
  }

  #picture(length: number): void {
    this.bytes += length;
    this.tokens += this.#each;
  }

  /** Its bytes count besides: some are text. */
  #document(data: JsonValue): void {
    if (typeof data === "string" && data !== "") this.tokens += DOCUMENT_TOKENS;
  }
}

function pictureTokens(wire: ModelWire, model: string): number {
  const known = PICTURE_TOKENS_BY.find(([of, which]) => of.test(wire) && which.test(model));
  return known?.[2] ?? PICTURE_TOKENS;
}

function removeHostedTools(wire: ModelWire, body: JsonObject): void {
  const allowed = OWN_TOOLS[wire];
  const isOwn = (tool: JsonValue): boolean => {
    if (!isObject(tool)) return true;
    const { type } = tool;
    if (type === undefined && wire.startsWith("anthropic")) return true;
    return typeof type === "string" && allowed?.test(type) === true;
  };
  const clean = (holder: JsonObject): void => {
    const { tools } = holder;
    if (!Array.isArray(tools)) return;
    const own = tools.filter(isOwn);
    for (const tool of own) if (isObject(tool)) clean(tool);
    if (own.length > 0 || !("model" in holder)) holder["tools"] = own;
    else {
      delete holder["tools"];
      delete holder["tool_choice"];
    }
  };
  clean(body);
  const { input } = body;
  if (Array.isArray(input)) {
    for (const item of input) {
      if (isObject(item) && item["type"] === "additional_tools") clean(item);
    }
  }
}

const OUTPUT_FIELDS: Readonly<Record<ModelWire, readonly OutputField[]>> = {
  anthropic_messages: ["max_tokens"],
  anthropic_count: [],
  openai_responses: ["max_output_tokens"],
  openai_chat: ["max_completion_tokens", "max_tokens"],
};

/** @returns how many tokens the answer may have, over all choices */
function limitOutput(wire: ModelWire, body: JsonObject, chatField: OutputField): number {
  const [first] = OUTPUT_FIELDS[wire];
  if (first === undefined) return 0;
  const given = OUTPUT_FIELDS[wire].flatMap((name) => {
    const value = body[name];
    return value === undefined || value === null ? [] : [wholeOf(value, name, OUTPUT_MAX)];
  });
  const isChat = wire === "openai_chat";
  if (given.length === 0) body[isChat ? chatField : first] = OUTPUT_DEFAULT;
  const most = given.reduce((found, one) => Math.max(found, one), 0);
  const limit = given.length === 0 ? OUTPUT_DEFAULT : most;
  return limit * (isChat ? wholeOf(body["n"] ?? 1, "n", CHOICES_MAX) : 1);
}

function wholeOf(value: JsonValue, name: string, most: number): number {
  const whole = typeof value === "number" && Number.isSafeInteger(value);
  if (whole && value >= 1 && value <= most) return value;
  throw refused(`expected "${name}" to be a whole number from 1 to ${most}`);
}

function refused(why: string): SovereignError {
  return new SovereignError("ERR_MODEL_REQUEST", `The model proxy refuses the request: ${why}.`);
}
