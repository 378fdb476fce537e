import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";
import { filesWith, tablesWith } from "../../support/secret-search.ts";

const CANARY = "canary-model-key-77";

let rig: GoalRig;
let folder: string;
let asked: IncomingMessage["headers"][] = [];
let answer: (response: ServerResponse) => void;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-model-"));
  writeFileSync(join(folder, "passphrase"), "correct horse battery");
  writeFileSync(join(folder, "key"), CANARY);
  rig = await openGoalRig({ passphraseFile: join(folder, "passphrase") });
  await rig.services.addVendor({
    name: "local",
    baseUrl: `http://${rig.host}/v1`,
    auth: "bearer",
    wires: ["openai_chat"],
    provider: null,
    price: { input: 1_000_000, output: 2_000_000 },
    outputField: "max_tokens",
    key: { from: "file", path: join(folder, "key") },
    replace: false,
  });
  rig.answer = (_, response) => {
    asked.push(response.req.headers);
    answer(response);
  };
});
afterAll(async () => {
  expect(filesWith(rig.home, CANARY)).toEqual([]);
  expect(await tablesWith(rig.owner, CANARY)).toEqual([]);
  await rig.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  asked = [];
});

const ask = (id: string, more: object = {}): object => ({
  id,
  skill: "llm_invoke",
  with: { vendor: "local", model: "small-1", prompt: "Say ok.", max_tokens: 50 },
  ...more,
});
function completion(text: string): (response: ServerResponse) => void {
  const choices = [
    { index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" },
  ];
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  return (response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ id: "x", object: "chat.completion", choices, usage }));
  };
}

describe("llm_invoke", () => {
  it("asks through the model proxy, and its tokens and cost are recorded", async () => {
    answer = completion("ok");
    const report = await rig.runGoal(rig.planFile([ask("one"), ask("two")]));
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([
      { output: { value: { text: "ok", stop_reason: "stop" } }, cost_microusd: 20 },
      { cost_microusd: 20 },
    ]);
    expect(asked.map(({ authorization }) => authorization)).toEqual(
      [CANARY, CANARY].map((key) => `Bearer ${key}`),
    );
    const proof = await rig.services.proveRun("acme", report.runId);
    expect(proof.integrity).toMatchObject({ verification_status: "VERIFIED" });
  });

  it("fails with the vendor, and tries again as its plan says", async () => {
    let times = 0;
    answer = (response) => {
      if (times++ < 1)
        response
          .writeHead(400, { "content-type": "application/json" })
          .end('{"error":{"message":"no"}}');
      else completion("ok")(response);
    };
    const retry = { max: 2, backoff_ms: 1 };
    const report = await rig.runGoal(rig.planFile([ask("one", { retry })]));
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
  });

  it("ends with its time, and what it used is recorded", async () => {
    answer = () => undefined;
    const report = await rig.runGoal(rig.planFile([ask("one", { timeout_ms: 3000 })]));
    expect(report).toMatchObject({ status: "failed", code: "ERR_SKILL_TIMEOUT", verdict: "VALID" });
  });

  it("asks no model that the policy does not name", async () => {
    const other = { vendor: "other", model: "small-1", prompt: "x" };
    await expect(rig.runGoal(rig.planFile([ask("one", { with: other })]))).rejects.toMatchObject({
      code: "ERR_POLICY_DENIED",
    });
    expect(asked).toEqual([]);
  });
});

describe("skills in the sandbox", () => {
  it("run side by side in one host, each with what it may reach", async () => {
    const file = join(folder, "token");
    writeFileSync(file, "whsec_c2VjcmV0LWtleS0x");
    const set = { tenantId: "acme", hosts: [rig.host], file };
    await rig.services.setSecret({ ...set, name: "TOKEN" });
    const token = "${{ secrets.TOKEN }}";
    const base = `http://${rig.host}`;
    const steps = [
      { id: "hook", skill: "webhook_send", with: { url: base, payload: {}, secret: token } },
      {
        id: "slack",
        skill: "slack_send",
        with: { base_url: base, channel: "C01", text: "x", token },
      },
      {
        id: "embed",
        skill: "voyage_embed",
        with: { base_url: base, model: "voyage-3.5", texts: ["x"], api_key: token },
      },
    ];
    answer = (response) => {
      const data = [{ index: 0, embedding: [1, 2] }];
      const both = { ok: true, channel: "C01", ts: "1.2", data, usage: { total_tokens: 1 } };
      response.setHeader("content-type", "application/json").end(JSON.stringify(both));
    };
    const report = await rig.runGoal(rig.planFile(steps));
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(asked).toHaveLength(3);
    expect(filesWith(rig.home, "c2VjcmV0LWtleS0x")).toEqual([]);
  });
});
