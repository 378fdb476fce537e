import type { JsonObject, ModelCallEnd, ModelWire } from "@sovereign/core";
import { afterEach, describe, expect, test } from "vitest";
import type { ScriptedFault } from "../../../../examples/agent/scripted-model.ts";
import { readRequest } from "../../src/agents/model-proxy/request.ts";
import {
  ask,
  CANARY,
  ModelRig,
  PRICED,
  REQUESTS,
  type RigOptions,
  TOKEN,
} from "../support/model-rig.ts";

let rig: ModelRig | undefined;
afterEach(async () => {
  await rig?.close();
  rig = undefined;
});

async function start(options: Partial<RigOptions> = {}): Promise<ModelRig> {
  rig = await ModelRig.start({ script: [{ text: "hello" }], ...options });
  return rig;
}

const MESSAGES = { ...REQUESTS["messages"]?.body };

describe("what a client may ask", () => {
  for (const [method, path] of [
    ["GET", "/v1/messages"],
    ["POST", "/v1/complete"],
    ["POST", "/v1/messages?beta=true&x=1"],
    ["POST", "/v1/messages/../files"],
    ["POST", "//v1/messages"],
    ["POST", "/v1/responses/resp_1/cancel"],
    ["DELETE", "/v1/responses"],
    ["POST", "/v1/embeddings"],
    ["GET", "/"],
  ] as const) {
    test(`answers 404 to ${method} ${path}`, async () => {
      const { socket, vendor } = await start();
      const reply = await ask(socket, method, path, null, { "x-api-key": TOKEN });
      expect(reply.status).toBe(404);
      expect(reply.text).toContain("ERR_MODEL_PATH");
      expect(vendor.connections).toBe(0);
    });
  }

  test("answers what CLIs ask before they begin, and asks no vendor", async () => {
    const { socket, vendor } = await start();
    expect((await ask(socket, "HEAD", "/api/hello", null, {})).status).toBe(200);
    const models = await ask(socket, "GET", "/v1/models", null, { "x-api-key": TOKEN });
    expect(models.text).toContain(PRICED);
    expect(vendor.connections).toBe(0);
  });

  const tokens: readonly (readonly [string, Record<string, string>])[] = [
    ["none", {}],
    ["another", { "x-api-key": "00".repeat(32) }],
    ["a shorter one", { "x-api-key": TOKEN.slice(0, -1) }],
    ["the vendor's own key", { "x-api-key": CANARY }],
    ["two that differ", { "x-api-key": TOKEN, authorization: `Bearer ${CANARY}` }],
    ["another scheme", { authorization: `Basic ${TOKEN}` }],
  ];
  for (const [what, headers] of tokens) {
    test(`refuses ${what} as a token`, async () => {
      const made = await start();
      const reply = await made.post("/v1/messages", MESSAGES, headers);
      expect(reply.status).toBe(401);
      expect(reply.text).toContain("ERR_MODEL_TOKEN");
      expect(reply.text).not.toContain(CANARY);
      expect(made.vendor.connections).toBe(0);
      expect(made.entries).toEqual([]);
    });
  }

  test("knows a token no more once its run has ended", async () => {
    const made = await start();
    made.proxy.end("run_aaaaaaaaaaaaaaaaaaaa");
    expect((await made.post("/v1/messages", MESSAGES)).status).toBe(401);
  });

  const text = (content: JsonObject): JsonObject => ({
    ...MESSAGES,
    messages: [{ role: "user", content: [content] }],
  });
  const refused: readonly (readonly [string, string, JsonObject | Buffer])[] = [
    ["no JSON", "/v1/messages", Buffer.from("{")],
    ["a key twice", "/v1/messages", Buffer.from('{"model":"a","model":"b"}')],
    ["no model", "/v1/messages", { messages: [] }],
    ["a model with a space", "/v1/messages", { ...MESSAGES, model: "a b" }],
    ["a limit of -1", "/v1/messages", { ...MESSAGES, max_tokens: -1 }],
    ["remote MCP servers", "/v1/messages", { ...MESSAGES, mcp_servers: [{ url: "https://x" }] }],
    ["a dearer speed", "/v1/messages", { ...MESSAGES, speed: "fast" }],
    [
      "a picture by URL",
      "/v1/messages",
      text({ type: "image", source: { type: "url", url: "u" } }),
    ],
    ["a stored file", "/v1/messages", text({ type: "document", source: { type: "file" } })],
    ["a stored answer", "/v1/responses", { model: "m", input: "x", previous_response_id: "r" }],
    [
      "a stored item",
      "/v1/responses",
      { model: "m", input: [{ type: "item_reference", id: "i" }] },
    ],
    [
      "an image by URL",
      "/v1/responses",
      { model: "m", input: [{ type: "input_image", image_url: "https://example.org/?secret" }] },
    ],
    ["work in the background", "/v1/responses", { model: "m", input: "x", background: true }],
    [
      "a dearer tier",
      "/v1/chat/completions",
      { model: "m", messages: [], service_tier: "priority" },
    ],
    ["plugins", "/v1/chat/completions", { model: "m", messages: [], plugins: [{ id: "web" }] }],
    ["other models", "/v1/chat/completions", { model: "m", messages: [], models: ["dear"] }],
    ["a model that searches", "/v1/chat/completions", { model: "m:online", messages: [] }],
    [
      "a prediction, which costs beyond the limit",
      "/v1/chat/completions",
      { model: "m", messages: [], prediction: { type: "content", content: "x".repeat(9000) } },
    ],
    ["a thousand choices", "/v1/chat/completions", { model: "m", messages: [], n: 1000 }],
  ];
  for (const [what, path, body] of refused) {
    test(`refuses ${what}`, async () => {
      const made = await start();
      const reply = await made.post(path, body);
      expect(reply.status).toBe(400);
      expect(reply.text).toContain("ERR_MODEL_REQUEST");
      expect(made.vendor.connections).toBe(0);
    });
  }

  const PICTURE = "iVBORw0KGgo=";
  const counted: readonly (readonly [string, ModelWire, JsonObject, number])[] = [
    [
      "a picture of few bytes",
      "anthropic_messages",
      text({ type: "image", source: { type: "base64", media_type: "image/png", data: PICTURE } }),
      5000,
    ],
    [
      "a picture of a tool's",
      "anthropic_messages",
      text({
        type: "tool_result",
        content: [
          { type: "image", source: { type: "base64", media_type: "image/png", data: PICTURE } },
        ],
      }),
      5000,
    ],
    [
      "a document of few bytes and many pages",
      "anthropic_messages",
      text({
        type: "document",
        source: { type: "base64", media_type: "application/pdf", data: PICTURE },
      }),
      200_000,
    ],
    [
      "a picture of an input",
      "openai_responses",
      {
        model: "gpt-5.5",
        input: [{ type: "input_image", image_url: `data:image/png;base64,${PICTURE}` }],
      },
      16_384,
    ],
    [
      "a document of an input",
      "openai_responses",
      {
        model: "gpt-5.5",
        input: [{ type: "input_file", file_data: "data:application/pdf;base64,x" }],
      },
      200_000,
    ],
    [
      "a picture for a model that counts them many times",
      "openai_chat",
      {
        model: "gpt-4o-mini",
        messages: [
          {
            role: "user",
            content: [
              { type: "image_url", image_url: { url: `data:image/png;base64,${PICTURE}` } },
              { type: "image_url", image_url: { url: `data:image/png;base64,${PICTURE}` } },
            ],
          },
        ],
      },
      100_000,
    ],
  ];
  test.each(counted)("counts %s as the most that it can be", (_what, wire, body, least) => {
    const { inputTokens } = readRequest(wire, Buffer.from(JSON.stringify(body)), "max_tokens");
    expect(inputTokens).toBeGreaterThanOrEqual(least);
    expect(inputTokens).toBeLessThan(least + 2000);
  });

  test("takes what a model asked a tool for as text, whatever it looks like", async () => {
    const made = await start();
    const content = [{ type: "tool_use", id: "t", name: "f", input: { file_id: "x" } }];
    const messages = [{ role: "assistant", content }];
    expect((await made.post("/v1/messages", { ...MESSAGES, messages })).status).toBe(200);
  });

  test("leaves out tools that the vendor would carry out", async () => {
    const made = await start();
    const tools = [
      { name: "Bash", input_schema: {} },
      { type: "web_search_20250305", name: "web_search" },
      { type: "web_fetch_20250910", name: "web_fetch" },
      { type: "code_execution_20250825", name: "code" },
    ];
    await made.post("/v1/messages", { ...MESSAGES, tools });
    expect(made.vendor.requests[0]?.body["tools"]).toEqual([tools[0]]);
    const inner = { type: "namespace", name: "f", tools: [{ type: "web_search" }] };
    await made.post("/v1/responses", {
      model: "gpt-5.5",
      tools: [{ type: "function", name: "shell" }, { type: "web_search" }, { type: "mcp" }],
      input: [{ type: "additional_tools", tools: [inner] }],
    });
    const { tools: left, input } = made.vendor.requests[1]?.body ?? {};
    expect(left).toEqual([{ type: "function", name: "shell" }]);
    expect(input).toEqual([{ type: "additional_tools", tools: [{ ...inner, tools: [] }] }]);
  });

  test("refuses a body that is too long, encoded, or of another type", async () => {
    const made = await start({ limits: { requestBytesMax: 2000 } });
    const long = await made.post("/v1/messages", { ...MESSAGES, system: "x".repeat(3000) });
    expect(long.status).toBe(413);
    expect(long.text).toContain("ERR_MODEL_TOO_LARGE");
    for (const headers of [{ "content-encoding": "gzip" }, { "content-type": "text/plain" }]) {
      const given = { "x-api-key": TOKEN, ...headers };
      expect((await made.post("/v1/messages", MESSAGES, given)).status).toBe(400);
    }
    expect(made.vendor.connections).toBe(0);
  });

  test("takes no more calls at once than the run may have", async () => {
    const made = await start({ script: [{ fault: { kind: "hang" } }], limits: { callsMax: 1 } });
    const first = made.post("/v1/messages", MESSAGES);
    await expect.poll(() => made.vendor.requests.length).toBe(1);
    const second = await made.post("/v1/messages", MESSAGES);
    expect(second.status).toBe(429);
    expect(second.text).toContain("ERR_MODEL_BUSY");
    await made.vendor.close();
    await first;
  });
});

describe("what policy, budget and kill switch say", () => {
  test("denies what policy does not allow, and records it", async () => {
    const made = await start({
      policy: {
        policy_id: "models",
        schema_version: "1.0",
        operations: [{ type: "llm.call", resources: ["scripted/claude-haiku-*"] }],
      },
    });
    const reply = await made.post("/v1/messages", MESSAGES);
    expect(reply.status).toBe(403);
    expect(reply.text).toContain('"type":"permission_error"');
    expect(made.events("llm.denied")).toMatchObject([{ code: "ERR_MODEL_DENIED" }]);
    expect(made.vendor.connections).toBe(0);
  });

  test("stops before a call that the budget does not cover", async () => {
    // 1,000 tokens of answer cost $0.015, the request some $0.004.
    const made = await start({ script: [], budget: { microusd: 20_000, tokens: null } });
    expect((await made.post("/v1/messages", MESSAGES)).status).toBe(200);
    const spent = made.desk.totals.microusd;
    expect(spent).toBeGreaterThan(0);
    const second = await made.post("/v1/messages", { ...MESSAGES, max_tokens: 1400 });
    expect(second.status).toBe(402);
    expect(second.text).toContain('"type":"billing_error"');
    expect(second.text).toContain("ERR_MODEL_BUDGET");
    const said =
      /needs \$(0\.\d+), .* because \$(0\.\d+) is used or reserved\. .* at least \$(0\.\d\d):/.exec(
        second.text,
      );
    const [, reserved, used, least] = (said ?? []).map(Number);
    expect(least).toBeGreaterThanOrEqual((reserved ?? NaN) + (used ?? NaN));
    expect(made.vendor.requests.length).toBe(1);
    expect(made.desk.totals.microusd).toBe(spent);
  });

  test("stops before a call that the tokens do not cover", async () => {
    const made = await start({ budget: { microusd: null, tokens: 1500 } });
    const reply = await made.post("/v1/messages", MESSAGES);
    expect(reply.status).toBe(402);
    expect(made.events("llm.denied")).toMatchObject([{ code: "ERR_MODEL_BUDGET" }]);
    expect(made.desk.refusal).toMatchObject({ code: "ERR_MODEL_BUDGET" });
  });

  test("calls in flight never hold more than the budget together", async () => {
    const made = await start({
      script: () => ({ text: "x", delayMs: 5 }),
      budget: { microusd: 45_000, tokens: null },
    });
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => made.post("/v1/messages", { ...MESSAGES, stream: true })),
    );
    const held = made.events("llm.reserved").map(({ totals }) => totals);
    for (const { microusd, reserved_microusd } of held) {
      expect(microusd + reserved_microusd).toBeLessThanOrEqual(45_000);
    }
    expect(replies.filter(({ status }) => status === 402).length).toBeGreaterThan(0);
  });

  test("refuses a model without a price where the budget is in money", async () => {
    const made = await start({ budget: { microusd: 1_000_000, tokens: null } });
    const reply = await made.post("/v1/messages", { ...MESSAGES, model: "my-own-model" });
    expect(reply.status).toBe(402);
    expect(made.events("llm.denied")).toMatchObject([{ code: "ERR_MODEL_PRICE" }]);
  });

  test("says of a model without a price that its cost is not known", async () => {
    const made = await start();
    await made.post("/v1/messages", { ...MESSAGES, model: "my-own-model" });
    expect(made.events("llm.called")).toMatchObject([
      { cost_microusd: null, charged: { tokens: 120, microusd: null }, totals: { unpriced: 1 } },
    ]);
  });

  test("counts what its vendor's own price says", async () => {
    const made = await start({ own: { input: 1_000_000, output: 2_000_000 } });
    await made.post("/v1/messages", { ...MESSAGES, model: "my-own-model" });
    expect(made.events("llm.called")).toMatchObject([{ cost_microusd: 140 }]);
  });

  test("refuses while the switch is tripped, and sends nothing", async () => {
    const made = await start();
    made.gate.tripped = true;
    const reply = await made.post("/v1/messages", MESSAGES);
    expect(reply.status).toBe(403);
    expect(reply.text).toContain("ERR_SCRAM_TRIPPED");
    expect(made.vendor.connections).toBe(0);
  });

  test("cuts a stream that is open when the switch trips", async () => {
    const made = await start({ script: [{ text: "x".repeat(400), pieces: 400, delayMs: 10 }] });
    const reply = made.post("/v1/messages", { ...MESSAGES, stream: true });
    await expect.poll(() => made.vendor.requests.length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    made.gate.tripped = true;
    expect(await reply).toMatchObject({ whole: false });
    await expect.poll(() => made.events("llm.called")).toMatchObject([{ ended: "stopped" }]);
    const [held] = made.events("llm.reserved");
    expect(made.events("llm.called")[0]?.charged).toEqual(held?.reserved);
  });
});

describe("what a vendor answers", () => {
  const faults: readonly (readonly [ScriptedFault, boolean, number | "cut", ModelCallEnd])[] = [
    [{ kind: "status", status: 401 }, true, 401, "refused"],
    [{ kind: "status", status: 402 }, true, 402, "refused"],
    [{ kind: "status", status: 403 }, true, 403, "refused"],
    [{ kind: "status", status: 429, retryAfter: 3 }, true, 429, "refused"],
    [{ kind: "status", status: 500 }, true, 500, "refused"],
    [{ kind: "status", status: 529 }, false, 529, "refused"],
    [{ kind: "redirect", to: "https://example.org/v1/messages" }, true, 502, "malformed"],
    [{ kind: "html" }, true, 502, "malformed"],
    [{ kind: "close" }, true, 502, "broken"],
    [{ kind: "hang" }, true, 504, "timeout"],
    [{ kind: "hang_in_stream" }, true, "cut", "timeout"],
    [{ kind: "broken_stream" }, true, "cut", "broken"],
    [{ kind: "garbage" }, true, "cut", "malformed"],
    [{ kind: "malformed_usage" }, true, "cut", "malformed"],
    [{ kind: "malformed_usage" }, false, 502, "malformed"],
    [{ kind: "error_in_stream" }, true, 200, "failed"],
    [{ kind: "never_closes" }, true, 200, "completed"],
    [{ kind: "echo_key" }, false, 502, "malformed"],
  ];
  for (const [fault, stream, status, ended] of faults) {
    const what = fault.kind === "status" ? `status ${fault.status}` : fault.kind;
    test(`records ${what}${stream ? " of a stream" : ""} as ${ended}`, async () => {
      const made = await start({
        script: [{ text: "hello world", fault }],
        limits: { firstByteMs: 200, idleMs: 200 },
      });
      const reply = await made.post("/v1/messages", { ...MESSAGES, stream });
      if (status === "cut") expect(reply).toMatchObject({ status: 200, whole: false });
      else expect(reply).toMatchObject({ status, whole: true });
      if (fault.kind === "status" && fault.retryAfter !== undefined) {
        expect(reply.headers["retry-after"]).toBe("3");
      }
      expect(JSON.stringify(reply)).not.toContain(CANARY);
      expect(reply.text).toMatch(saysOf(status, ended));
      const [held] = made.events("llm.reserved");
      const [called] = made.events("llm.called");
      expect(called?.ended).toBe(ended);
      const none = { tokens: 0, microusd: 0 };
      if (ended === "refused") expect(called?.charged).toEqual(none);
      else if (ended !== "completed") expect(called?.charged).toEqual(held?.reserved);
      expect(made.vendor.requests.length).toBe(1);
      expect(JSON.stringify(made.entries)).not.toContain(CANARY);
    });
  }

  for (const wire of ["responses", "chat"]) {
    for (const kind of ["garbage", "malformed_usage", "broken_stream"] as const) {
      test(`records ${kind} in ${wire} as what it is`, async () => {
        const made = await start({ script: [{ text: "hello world", fault: { kind } }] });
        const { path, body } = REQUESTS[wire] ?? { path: "", body: {} };
        const reply = await made.post(path, { ...body, stream: true });
        expect(reply.whole).toBe(false);
        const [held] = made.events("llm.reserved");
        const ended = kind === "broken_stream" ? "broken" : "malformed";
        expect(made.events("llm.called")).toMatchObject([{ ended, charged: held?.reserved }]);
      });
    }
  }

  test("charges all that was held where no usage is told", async () => {
    const made = await start({ script: [{ text: "x", fault: { kind: "no_usage" } }] });
    const { path, body } = REQUESTS["chat"] ?? { path: "", body: {} };
    expect((await made.post(path, { ...body, stream: true })).status).toBe(200);
    const [held] = made.events("llm.reserved");
    expect(made.events("llm.called")).toMatchObject([
      { ended: "completed", usage: null, charged: held?.reserved },
    ]);
  });

  test("is not reached: nothing is charged, and the client is told", async () => {
    const made = await start();
    await made.vendor.close();
    const reply = await made.post("/v1/messages", MESSAGES);
    expect(reply.status).toBe(502);
    expect(reply.text).toContain("ERR_MODEL_UNREACHABLE");
    expect(made.events("llm.called")).toMatchObject([
      { ended: "unreachable", status: null, charged: { tokens: 0, microusd: 0 } },
    ]);
  });

  test("counts tokens for nothing, and records that it was asked", async () => {
    const made = await start();
    const reply = await made.post("/v1/messages/count_tokens", MESSAGES);
    expect(reply.text).toContain("input_tokens");
    expect(made.events("llm.called")).toMatchObject([
      { ended: "completed", charged: { tokens: 0, microusd: 0 } },
    ]);
  });
});

/** What of our own a reply says. */
function saysOf(status: number | "cut", ended: ModelCallEnd): RegExp {
  if (status === 504) return /ERR_MODEL_TIMEOUT/;
  return ended === "malformed" && status === 502 ? /ERR_MODEL_ANSWER/ : /^/;
}
