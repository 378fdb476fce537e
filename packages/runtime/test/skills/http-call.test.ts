import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { JsonObject } from "@sovereign/core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { EffectResult } from "../../src/kernel/index.ts";
import { findSkill, readInput } from "../../src/skills/index.ts";
import { type How, openSkillRig, type SkillRig } from "../support/skill-rig.ts";

let rig: SkillRig;
let server: Server;
let base: string;
let host: string;
let asked: IncomingMessage[] = [];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(async () => {
  rig = await openSkillRig();
  server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  base = `http://${host}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rig.close();
});
beforeEach(() => {
  asked = [];
  rig.recorded.length = 0;
  answer = (_, response) => response.end("hello");
});

const perform = (given: JsonObject, how?: How): Promise<EffectResult> =>
  rig.perform("http_call", given, how);
const codeOf = (given: JsonObject, how?: How): Promise<string> =>
  rig.codeOf("http_call", given, how);

describe("http_call", () => {
  it("gives status, text and digest, and keeps the body as an artifact", async () => {
    const result = await perform({ url: `${base}/zen` });
    expect(result).toMatchObject({
      status: "completed",
      output: { value: { status: 200, body: "hello", json: null, bytes: 5 }, cost_microusd: 0 },
      artifacts: [{ name: "call/body", bytes: 5 }],
    });
  });

  it("gives JSON as a value, and neither cookies nor headers of a stranger's choice", async () => {
    answer = (_, response) => {
      response.setHeader("set-cookie", "session=secret");
      response.setHeader("x-secret", "s");
      response.setHeader("content-type", "application/json; charset=utf-8");
      response.end('{"a":[1]}');
    };
    const result = await perform({ url: base });
    expect(result).toMatchObject({ output: { value: { json: { a: [1] }, body: null } } });
    expect(JSON.stringify(result)).not.toContain("secret");
  });

  it("sends its key with what changes something", async () => {
    await perform({ url: base, method: "POST", json: { a: 1 } });
    expect(asked[0]?.headers).toMatchObject({
      "idempotency-key": "k".repeat(64),
      "content-type": "application/json",
    });
  });

  it.each<[string, string]>([
    ["a redirect", "302"],
    ["an error", "500"],
    ["what is not there", "404"],
  ])("fails on %s, and follows nothing", async (_, status) => {
    answer = (_request, response) => {
      response.writeHead(Number(status), { location: "http://169.254.169.254/" }).end("secret");
    };
    await expect(perform({ url: base })).rejects.toMatchObject({
      code: "ERR_SKILL_FAILED",
      message: expect.not.stringContaining("secret") as string,
    });
    expect(asked).toHaveLength(1);
    const allowed = { url: base, allow_status: [Number(status)] };
    expect(await codeOf(allowed)).toBe("completed");
  });

  it("keeps no endless answer, and no large one in the ledger", async () => {
    answer = (_, response) => {
      response.write(Buffer.alloc(2 * 1024 * 1024));
      response.end();
    };
    expect(await codeOf({ url: base })).toBe("ERR_SKILL_FAILED");
    answer = (_, response) => response.end("x".repeat(100_000));
    expect(await perform({ url: base })).toMatchObject({
      output: { value: { bytes: 100_000, body: null } },
    });
  });

  it("ends in time, and says where nobody knows whether it happened", async () => {
    answer = () => undefined;
    expect(await codeOf({ url: base }, { timeoutMs: 100 })).toBe("ERR_SKILL_TIMEOUT");
    const post = { url: base, method: "POST" };
    expect(await codeOf(post, { timeoutMs: 100 })).toBe("ERR_OUTCOME_UNKNOWN");
    answer = (request) => request.socket.destroy();
    expect(await codeOf(post)).toBe("ERR_OUTCOME_UNKNOWN");
    expect(await codeOf({ ...post, idempotent: true })).toBe("ERR_SKILL_FAILED");
  });

  it("is not tried again by itself where it may have happened and the database went away", async () => {
    const post = { url: base, method: "POST" };
    const away = "ERR_STORE_UNAVAILABLE";
    for (const mayHaveHappened of [true, false]) {
      const lost = { mayHaveHappened };
      expect(await codeOf({ url: base }, { lost })).toBe(away);
      expect(await codeOf(post, { lost })).toBe(mayHaveHappened ? "ERR_OUTCOME_UNKNOWN" : away);
    }
    const keepsNothing = true;
    expect(await codeOf({ url: base }, { keepsNothing })).toBe("ERR_CONTENT_UNAVAILABLE");
    expect(await codeOf(post, { keepsNothing })).toBe("ERR_OUTCOME_UNKNOWN");
  });

  it("does nothing but what was authorised, with the version that was", async () => {
    expect(await codeOf({ url: base }, { resource: "example.org" })).toBe("ERR_SKILL_INPUT");
    expect(await codeOf({ url: base }, { version: "0.9.0" })).toBe("ERR_SKILL_INPUT");
    expect(asked).toEqual([]);
  });
});

describe("http_call reaches no private address", () => {
  it.each([
    "http://127.0.0.1:1/",
    "http://2130706433:1/",
    "http://0x7f.1:1/",
    "http://[::1]:1/",
    "http://[::ffff:127.0.0.1]:1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
  ])("that no rule names: %s", async (url) => {
    expect(await codeOf({ url }, { named: false })).toBe("ERR_SKILL_ADDRESS");
  });

  it("by a name that leads there, even if the policy names the name", async () => {
    const how = { named: true, addresses: ["127.0.0.1"] };
    expect(await codeOf({ url: "http://rebound.example.org/" }, how)).toBe("ERR_SKILL_ADDRESS");
    const both = { named: true, addresses: ["93.184.216.34", "10.0.0.1"] };
    expect(await codeOf({ url: "http://rebound.example.org/" }, both)).toBe("ERR_SKILL_ADDRESS");
    expect(asked).toEqual([]);
  });
});

it.each([
  { url: "file:///etc/passwd" },
  { url: "https://user@example.org/" },
  { url: "https://example.org/", headers: { Host: "x" } },
  { url: "https://example.org/", headers: { "X-Api-Key": "x" } },
  { url: "https://example.org/", headers: { a: "b\r\nc: d" } },
])("http_call does not take %j", (given) => {
  const skill = findSkill("http_call");
  const code = "ERR_SKILL_INPUT";
  expect(() => readInput(skill, given as unknown as JsonObject, "input")).toThrow(
    expect.objectContaining({ code }) as Error,
  );
});

describe("secrets of http_call", () => {
  const SECRET = "canary/5d1e+0c77 &x";
  const AT = "2026-11-29T00:00:00.000Z";
  const asks = (more: JsonObject = {}): JsonObject => ({
    url: base,
    headers: { authorization: "Bearer ${{ secrets.API_KEY }}" },
    ...more,
  });
  beforeAll(() => rig.secrets.set({ name: "API_KEY", hosts: [host], value: SECRET }, AT));

  it("are put in by the gateway, and the answer that repeats one is masked", async () => {
    answer = (request, response) => {
      const sent = request.headers.authorization ?? "";
      response.setHeader("etag", sent);
      response.end(`you sent ${sent}, ${Buffer.from(sent).toString("base64")}`);
    };
    const result = await perform(asks());
    expect(asked[0]?.headers.authorization).toBe(`Bearer ${SECRET}`);
    const text = JSON.stringify(result);
    expect(text).toContain("[secret API_KEY]");
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(Buffer.from(SECRET).toString("base64").slice(4, -6));
  });

  const units = Array.from(
    SECRET,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  it.each([
    ["JSON", JSON.stringify(SECRET)],
    ["JSON that escapes slashes", JSON.stringify(SECRET).replaceAll("/", "\\/")],
    ["an address", encodeURIComponent(SECRET)],
    ["a form", new URLSearchParams({ a: SECRET }).toString()],
    ["HTML", SECRET.replaceAll("&", "&amp;")],
    ["hex", Buffer.from(SECRET).toString("hex")],
    ["base64", Buffer.from(`ab${SECRET}cd`).toString("base64")],
    ["base64 of addresses", Buffer.from(`a${SECRET}`).toString("base64url")],
  ])("are masked in %s", async (_, repeated) => {
    answer = (_request, response) => response.end(`<${repeated}>`);
    const result = await perform(asks());
    expect(JSON.stringify(result)).toContain("[secret API_KEY]");
  });

  it("keep an answer out that holds one in disguise", async () => {
    answer = (_, response) => {
      response.setHeader("content-type", "application/json").end(`["${units.join("")}"]`);
    };
    expect(await codeOf(asks())).toBe("ERR_SKILL_FAILED");
    answer = (_, response) => response.setHeader("content-encoding", "gzip").end("x");
    expect(await codeOf(asks())).toBe("ERR_SKILL_FAILED");
  });

  it("go to their hosts, and to no other", async () => {
    await rig.secrets.set({ name: "OTHER", hosts: ["api.example.org"], value: SECRET }, AT);
    const other = asks({ headers: { authorization: "${{ secrets.OTHER }}" } });
    expect(await codeOf(other)).toBe("ERR_SECRET_DENIED");
    const unknown = asks({ headers: { authorization: "${{ secrets.NOBODY }}" } });
    expect(await codeOf(unknown)).toBe("ERR_SECRET_UNKNOWN");
    expect(asked).toEqual([]);
    expect(rig.recorded).toContain(`refused ${host} ERR_SECRET_DENIED`);
  });

  it("go nowhere without TLS but to this machine itself", async () => {
    const url = "http://api.example.org/";
    await rig.secrets.set({ name: "PLAIN", hosts: ["api.example.org:80"], value: SECRET }, AT);
    const given = asks({ url, headers: { authorization: "${{ secrets.PLAIN }}" } });
    expect(await codeOf(given)).toBe("ERR_SECRET_DENIED");
  });

  it("are no text of a body", async () => {
    let body = "";
    answer = (request, response) => {
      request.on("data", (part) => (body += String(part))).on("end", () => response.end("ok"));
    };
    await perform(asks({ method: "PUT", body: "${{ secrets.API_KEY }}" }));
    expect(body).toBe("${{ secrets.API_KEY }}");
  });
});

describe("the gateway", () => {
  const ask = (line: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let said = "";
      const socket = connect(join(rig.folder, "gateway.sock"));
      socket.on("data", (part) => (said += String(part)));
      socket.on("close", () => {
        resolve(said);
      });
      socket.on("error", reject);
      socket.write(line);
    });
  const request = { kind: "http", token: "7".repeat(64), method: "GET", headers: {}, body: null };

  it("takes no token but that of a step that goes on", async () => {
    const said = await ask(`${JSON.stringify({ ...request, url: base })}\n`);
    expect(said).toContain("ERR_MODEL_TOKEN");
    expect(asked).toEqual([]);
  });

  it("reaches no host but the step's, also where the host in the sandbox asks for one", async () => {
    answer = (_, response) => {
      void ask(`${JSON.stringify({ ...request, url: "https://other.example.org/" })}\n`).then(
        (said) => response.end(said),
      );
    };
    const result = await perform({ url: base });
    expect(JSON.stringify(result)).toContain("ERR_EGRESS_DENIED");
    expect(rig.recorded).toContain("refused other.example.org:443 ERR_EGRESS_DENIED");
  });

  it.each(["no JSON\n", "{}\n", '{"kind":"file"}\n', `${"x".repeat(3 * 1024 * 1024)}\n`])(
    "refuses what is no request",
    async (line) => {
      expect(await ask(line)).toMatch(/ERR_(SKILL_INPUT|JSON_)/);
    },
  );

  it("records each connection before it is made, and its end", async () => {
    await perform({ url: base });
    expect(rig.recorded).toEqual([`connected ${host}`, "closed closed"]);
  });
});

it("__sdsr_fail_trigger__ fails as it is told", async () => {
  expect(await rig.codeOf("__sdsr_fail_trigger__", { failure: "STEP_FAILURE" })).toBe(
    "ERR_SKILL_FAILED",
  );
});
