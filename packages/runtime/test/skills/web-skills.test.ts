import { createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { JsonObject } from "@sovereign/core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findSkill, SKILLS } from "../../src/skills/index.ts";
import { findRun } from "../../src/skills/inside/runs.ts";
import { filesWith } from "../support/secret-search.ts";
import { openSkillRig, type SkillRig } from "../support/skill-rig.ts";

const AT = "2026-11-29T00:00:00.000Z";
const CANARY = "canary-41d7c0e2-f7";
const KEY = Buffer.from(CANARY).toString("base64");

interface Asked {
  readonly headers: IncomingMessage["headers"];
  readonly url: string;
  readonly body: string;
}

let rig: SkillRig;
let server: Server;
let base: string;
let host: string;
let asked: Asked[] = [];
let answer: (request: Asked, response: ServerResponse) => void;

beforeAll(async () => {
  rig = await openSkillRig();
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += String(part)));
    request.on("end", () => {
      const one = { headers: request.headers, url: request.url ?? "", body };
      asked.push(one);
      answer(one, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  base = `http://${host}`;
  await rig.secrets.set({ name: "KEY", hosts: [host], value: CANARY }, AT);
  await rig.secrets.set({ name: "SIGNING", hosts: [host], value: `whsec_${KEY}` }, AT);
  await rig.secrets.set({ name: "ELSEWHERE", hosts: ["slack.com"], value: CANARY }, AT);
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rig.close();
});
beforeEach(() => {
  asked = [];
});
/** After each test, whatever it did: a secret is where it was set, and nowhere else. */
afterEach(() => {
  expect(filesWith(rig.folder, CANARY, ["/secrets/"])).toEqual([]);
  expect(filesWith(rig.folder, KEY, ["/secrets/"])).toEqual([]);
});

function json(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

it("there are eleven skills, and each that does not run in control has its program", () => {
  // The program of a skill of one's own is its user's.
  const builtIn = Object.keys(SKILLS).filter((name) => name !== "own");
  expect(builtIn).toHaveLength(11);
  for (const name of builtIn) {
    expect(findRun(name) === null).toBe(findSkill(name).inControl !== null);
  }
});

describe("webhook_send", () => {
  const given = (more: JsonObject = {}): JsonObject => ({
    url: `${base}/hook`,
    payload: { type: "invoice.paid", data: { id: 7 } },
    secret: "${{ secrets.SIGNING }}",
    ...more,
  });

  it("signs as Standard Webhooks says, under the same identifier at each attempt", async () => {
    answer = ({ headers }, response) => {
      response.end(JSON.stringify(headers));
    };
    const result = await rig.perform("webhook_send", given());
    await rig.perform("webhook_send", given());
    const [first, second] = asked;
    const id = String(first?.headers["webhook-id"]);
    expect(second?.headers["webhook-id"]).toBe(id);
    const at = String(first?.headers["webhook-timestamp"]);
    expect(Math.abs(Number(at) * 1000 - Date.now())).toBeLessThan(600_000);
    const signed = createHmac("sha256", CANARY).update(`${id}.${at}.${first?.body ?? ""}`);
    expect(first?.headers["webhook-signature"]).toBe(`v1,${signed.digest("base64")}`);
    expect(result).toMatchObject({ output: { value: { status: 200, webhook_id: id } } });
  });

  it.each([500, 410, 302])("fails where the receiver answers %d", async (status) => {
    answer = (_, response) => response.writeHead(status).end();
    expect(await rig.codeOf("webhook_send", given())).toBe("ERR_SKILL_FAILED");
  });

  it("does not wait for ever", async () => {
    answer = () => undefined;
    expect(await rig.codeOf("webhook_send", given(), { timeoutMs: 100 })).toBe("ERR_SKILL_TIMEOUT");
    expect(rig.recorded.at(-1)).toBe("closed closed");
  });

  it("takes no secret itself, and none that is another host's", async () => {
    expect(await rig.codeOf("webhook_send", given({ secret: "whsec_aaaa" }))).toBe(
      "ERR_SKILL_INPUT",
    );
    const other = given({ secret: "${{ secrets.ELSEWHERE }}" });
    expect(await rig.codeOf("webhook_send", other)).toBe("ERR_SECRET_DENIED");
    expect(asked).toEqual([]);
  });
});

describe("slack_send", () => {
  const given = (more: JsonObject = {}): JsonObject => ({
    base_url: `${base}/api`,
    channel: "C0123ABC",
    text: "done",
    token: "${{ secrets.KEY }}",
    ...more,
  });
  const posted = {
    ok: true,
    channel: "C0123ABC",
    ts: "1503435956.000247",
    message: { text: "done" },
  };

  it("posts, with the token that the gateway puts in", async () => {
    answer = (_, response) => {
      json(response, 200, posted);
    };
    const result = await rig.perform("slack_send", given());
    expect(result).toMatchObject({ output: { value: { channel: "C0123ABC", ts: posted.ts } } });
    expect(asked).toMatchObject([
      { url: "/api/chat.postMessage", headers: { authorization: `Bearer ${CANARY}` } },
    ]);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({ channel: "C0123ABC", text: "done" });
  });

  it("waits as long as Slack says, and posts once", async () => {
    let refused = 0;
    answer = (_, response) => {
      if (refused++ < 2)
        json(response, 429, { ok: false, error: "ratelimited" }, { "retry-after": "0" });
      else json(response, 200, posted);
    };
    expect(await rig.codeOf("slack_send", given())).toBe("completed");
    expect(asked).toHaveLength(3);
  });

  it.each<[string, number, unknown, object, string]>([
    [
      "an error of its contract",
      200,
      { ok: false, error: "channel_not_found" },
      {},
      "ERR_SKILL_FAILED",
    ],
    ["a wait that is too long", 429, {}, { "retry-after": "3600" }, "ERR_SKILL_FAILED"],
    ["an error amid its work", 200, { ok: false, error: "fatal_error" }, {}, "ERR_OUTCOME_UNKNOWN"],
    ["an error of its servers", 503, {}, {}, "ERR_OUTCOME_UNKNOWN"],
    ["something else", 200, { hello: 1 }, {}, "ERR_OUTCOME_UNKNOWN"],
  ])("fails on %s", async (_, status, value, headers, code) => {
    answer = (_request, response) => {
      json(response, status, value, headers);
    };
    expect(await rig.codeOf("slack_send", given())).toBe(code);
  });

  it("says that nobody knows where the connection breaks", async () => {
    answer = (_, response) => response.socket?.destroy();
    expect(await rig.codeOf("slack_send", given())).toBe("ERR_OUTCOME_UNKNOWN");
    answer = () => undefined;
    expect(await rig.codeOf("slack_send", given(), { timeoutMs: 100 })).toBe("ERR_OUTCOME_UNKNOWN");
  });

  it("reaches no host that the policy does not name", async () => {
    expect(await rig.codeOf("slack_send", given(), { named: false })).toBe("ERR_SKILL_ADDRESS");
    expect(asked).toEqual([]);
  });
});

describe("voyage_embed", () => {
  const given = (more: JsonObject = {}): JsonObject => ({
    base_url: base,
    model: "voyage-3.5",
    texts: ["one", "two"],
    api_key: "${{ secrets.KEY }}",
    ...more,
  });
  const row = (index: number, embedding: unknown): object => ({
    object: "embedding",
    index,
    embedding,
  });
  const usage = { total_tokens: 6 };

  it("gives vectors in the order of the texts, and what they used", async () => {
    answer = (_, response) => {
      json(response, 200, { object: "list", data: [row(1, [3, 4]), row(0, [1, 2])], usage });
    };
    const result = await rig.perform("voyage_embed", given());
    expect(result).toMatchObject({
      output: {
        value: {
          count: 2,
          dimensions: 2,
          total_tokens: 6,
          embeddings: [
            [1, 2],
            [3, 4],
          ],
        },
      },
      artifacts: [{ name: "call/embeddings.json" }],
    });
    expect(JSON.parse(asked[0]?.body ?? "")).toMatchObject({
      input: ["one", "two"],
      model: "voyage-3.5",
    });
    expect(asked[0]?.headers.authorization).toBe(`Bearer ${CANARY}`);
  });

  it("keeps large vectors as an artifact alone", async () => {
    const long = Array.from({ length: 2048 }, (_, at) => at / 7);
    answer = (_, response) => {
      json(response, 200, { data: [row(0, long)], usage });
    };
    const result = await rig.perform("voyage_embed", given({ texts: ["one"] }));
    expect(result).toMatchObject({ output: { value: { dimensions: 2048, embeddings: null } } });
  });

  it.each<[string, number, unknown]>([
    ["a refused key", 401, { detail: "Provided API key is invalid." }],
    ["too many requests", 429, { detail: "rate limit" }],
    ["a vector too few", 200, { data: [row(0, [1])], usage }],
    ["vectors of different lengths", 200, { data: [row(0, [1]), row(1, [1, 2])], usage }],
    ["no usage", 200, { data: [row(0, [1]), row(1, [2])] }],
    ["no vectors", 200, { data: [row(0, ["x"]), row(1, [2])], usage }],
  ])("fails on %s, and may be tried again", async (_, status, value) => {
    answer = (_request, response) => {
      json(response, status, value);
    };
    expect(await rig.codeOf("voyage_embed", given())).toBe("ERR_SKILL_FAILED");
    expect(findSkill("voyage_embed").repeat(given())).toBe("safe");
  });
});
