import { type JsonObject, parseStrictJson, sha256Hex } from "@sovereign/core";
import { afterEach, describe, expect, test } from "vitest";
import {
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

async function start(options: RigOptions): Promise<ModelRig> {
  rig = await ModelRig.start(options);
  return rig;
}

const USAGE = { input: 1200, cacheRead: 700, output: 50, reasoning: 0 };
const TURN = { text: "All is well.", usage: USAGE };

describe("the model proxy", () => {
  for (const [wire, { path, body }] of Object.entries(REQUESTS)) {
    for (const stream of [true, false]) {
      test(`hands on ${wire}${stream ? ", streamed" : ""}, and records tokens and cost`, async () => {
        const { vendor, events, post } = bound(await start({ script: [TURN] }));
        const reply = await post(path, { ...body, stream });
        expect(reply).toMatchObject({ status: 200, whole: true });
        const said = stream ? saidOf(reply.text) : textOf(reply.text);
        expect(said).toContain("All is well.");
        expect(vendor.requests[0]?.headers["x-api-key"]).toBe(CANARY);
        const [reserved] = events("llm.reserved");
        const [called] = events("llm.called");
        expect(called).toMatchObject({
          call: reserved?.call,
          ended: "completed",
          status: 200,
          usage: { input: 1200, cache_read: 700, cache_write: 0, output: 50 },
          answer: { sha256: sha256Hex(Buffer.from(reply.text)), bytes: reply.text.length },
        });
        // $3, $0.30 and $15; $5, $0.50 and $30.
        const cost = wire === "messages" ? 500 * 3 + 700 * 0.3 + 50 * 15 : 500 * 5 + 350 + 1500;
        expect(called?.cost_microusd).toBe(cost);
        expect(called?.totals).toMatchObject({
          calls: 1,
          tokens: 1250,
          microusd: cost,
          reserved_tokens: 0,
          reserved_microusd: 0,
        });
        const [sent] = vendor.requests;
        expect(reserved?.action.params.request).toEqual({
          sha256: sha256Hex(sent?.bytes ?? Buffer.alloc(0)),
          bytes: sent?.bytes.length,
        });
      });
    }
  }

  test("shows the vendor neither the token nor headers that are not on its list", async () => {
    const { vendor, post } = bound(await start({ script: [TURN] }));
    const { path, body } = REQUESTS["messages"] ?? { path: "", body: {} };
    const reply = await post(path, body, {
      authorization: `Bearer ${TOKEN}`,
      "anthropic-version": "2023-06-01",
      "x-claude-code-session-id": "session",
      cookie: "a=b",
      "x-forwarded-for": "10.0.0.1",
    });
    expect(reply.status).toBe(200);
    expect(reply.headers["set-cookie"]).toBeUndefined();
    const [sent] = vendor.requests;
    expect(JSON.stringify(sent?.headers)).not.toContain(TOKEN);
    expect(Object.keys(sent?.headers ?? {}).sort()).toEqual([
      "accept",
      "accept-encoding",
      "anthropic-version",
      "connection",
      "content-length",
      "content-type",
      "host",
      "user-agent",
      "x-api-key",
    ]);
  });

  test("records the call before the last event is out", async () => {
    let recordedAt = 0;
    let open: ((value: undefined) => void) | null = null;
    const rigged = await start({
      script: [TURN],
      record: async (event) => {
        if (event !== "llm.called") return;
        await new Promise((resolve) => (open = resolve));
        recordedAt = performance.now();
      },
    });
    const reply = rigged.post("/v1/messages", { ...REQUESTS["messages"]?.body, stream: true });
    await expect.poll(() => open).not.toBeNull();
    setTimeout(() => open?.(undefined), 50);
    const { text } = await reply;
    expect(performance.now()).toBeGreaterThanOrEqual(recordedAt);
    expect(text).toContain("message_stop");
  });

  test("hands on no end of an answer that cannot be recorded", async () => {
    const rigged = await start({
      script: [TURN, TURN],
      record: (event) =>
        event === "llm.called" ? Promise.reject(new Error("disk full")) : Promise.resolve(),
    });
    const body = { ...REQUESTS["messages"]?.body, model: PRICED };
    const streamed = await rigged.post("/v1/messages", { ...body, stream: true });
    expect(streamed.whole).toBe(false);
    expect(streamed.text).not.toContain("message_stop");
    const whole = await rigged.post("/v1/messages", body);
    expect(whole.status).toBe(500);
    expect(whole.text).not.toContain("All is well");
  });
});

function bound(made: ModelRig): Pick<ModelRig, "vendor" | "events" | "post"> {
  return { vendor: made.vendor, events: made.events.bind(made), post: made.post.bind(made) };
}

/** What a client of the format reads of a stream. */
function saidOf(text: string): string {
  return text
    .split("\n\n")
    .flatMap((event) => /^data: (\{.*)$/m.exec(event)?.[1] ?? [])
    .map((data) => parseStrictJson(Buffer.from(data)) as JsonObject)
    .map(deltaOf)
    .join("");
}

function deltaOf(event: JsonObject): string {
  const { delta, choices } = event as {
    delta?: string | { text?: string };
    choices?: { delta?: { content?: string } }[];
  };
  if (typeof delta === "string") return delta;
  return delta?.text ?? choices?.[0]?.delta?.content ?? "";
}

function textOf(text: string): string {
  return text;
}
