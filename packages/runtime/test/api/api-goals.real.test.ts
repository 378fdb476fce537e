import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject, LedgerEntry } from "@sovereign/core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type ApiRig, openApiRig } from "../support/api-rig.ts";
import { answerJson } from "../support/goal-rig.ts";
import { COUNT, COUNTS, WORD_COUNT, writeOwnSkill } from "../support/own-skill.ts";

/** Goals in all the ways in which the command line takes them. */
let rig: ApiRig;
let folder: string;
let acme: string;
let questions = 0;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-api-goals-"));
  writeFileSync(join(folder, "key"), "canary-planner-key-2");
  rig = await openApiRig();
  acme = await rig.tokenOf("acme");
  await rig.services.addVendor({
    ...{ name: "local", baseUrl: `http://${rig.host}/v1`, auth: "bearer", wires: ["openai_chat"] },
    ...{ provider: null, price: { input: 1_000_000, output: 2_000_000 } },
    ...{ outputField: "max_tokens", replace: false },
    key: { from: "file", path: join(folder, "key") },
  });
});
afterAll(async () => {
  await rig.close();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => {
  rig.answer = answerJson;
  questions = 0;
  expect(rig.faults).toEqual([]);
});

const call = (id: string, more: object = {}): object => ({
  ...{ id, skill: "http_call", with: { url: `http://${rig.host}/${id}` } },
  ...more,
});
const goal = (more: object): object => ({ goal: "Fetch the report.", agent_id: "bot", ...more });

/** The model says the same each time that it is asked. */
function planWith(content: string): void {
  rig.answer = (url, response) => {
    if (!url.startsWith("/v1/")) {
      answerJson(url, response);
      return;
    }
    questions += 1;
    const message = { role: "assistant", content };
    const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
    const choices = [{ index: 0, message, finish_reason: "stop" }];
    const answer = { id: "x", object: "chat.completion", choices, usage };
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
  };
}

async function entriesOf(run: string): Promise<LedgerEntry[]> {
  return (await rig.api.readEvents("acme", run, 0)).events.map(({ entry }) => entry);
}

async function planOf(run: string): Promise<JsonObject> {
  const row = await rig.installation.store.findRun("acme", run);
  return JSON.parse(Buffer.from(row?.plan ?? "{}").toString()) as JsonObject;
}

describe("a plan that a model makes", () => {
  it("is made under the tenant's law, and its run is the one that is answered", async () => {
    planWith(JSON.stringify({ steps: [call("report")] }));
    const body = goal({ planner_model: "local/small-1" });
    const headers = { "idempotency-key": "planned-1" };
    const begun = await rig.ask(acme, "POST", "/v1/runs", { body, headers });
    expect(begun).toMatchObject({ status: 202, json: { is_new: true } });
    const run = String(begun.json["run_id"]);
    expect((await rig.ended(acme, run)).json).toMatchObject({ status: "completed" });
    const plan = await planOf(run);
    expect(plan).toMatchObject({
      planner: "model",
      planned_by: { vendor: "local", model: "small-1" },
      steps: [{ skill: "http_call" }],
    });
    // Question and plan are the same caller's.
    const { run_id: question } = plan["planned_by"] as { run_id: string };
    expect(question).not.toBe(run);
    const [asked, admitted] = [await entriesOf(question), await entriesOf(run)];
    const caller = { token_id: await rig.tokenIdOf(acme) };
    expect(asked[0]?.data["caller"]).toMatchObject(caller);
    expect(admitted[0]?.data["caller"]).toMatchObject(caller);
    expect(asked.map(({ event_type }) => event_type)).toContain("llm.called");
    const again = await rig.ask(acme, "POST", "/v1/runs", { body, headers });
    expect(again).toMatchObject({ status: 200, json: { run_id: run, is_new: false } });
    expect(questions).toBe(1);
  });

  it("is asked of a model that policy names, with no plan beside it, and nothing else", async () => {
    planWith("{}");
    const refused = async (more: object): Promise<unknown[]> => {
      const { status, json } = await rig.ask(acme, "POST", "/v1/runs", { body: goal(more) });
      return [status, json["code"]];
    };
    const both = { plan: { steps: [call("a")] }, planner_model: "local/small-1" };
    expect(await refused(both)).toEqual([400, "ERR_HTTP_REQUEST"]);
    for (const model of ["local", "local/", "/small-1", "../x", "local/a b"])
      expect(await refused({ planner_model: model })).toEqual([400, "ERR_HTTP_REQUEST"]);
    expect(await refused({ planner_model: "other/small-1" })).toEqual([403, "ERR_POLICY_DENIED"]);
    expect(questions).toBe(0);
  });

  it("that is none is told with its reason, and nothing of it runs", async () => {
    planWith(JSON.stringify({ steps: [{ id: "a", skill: "nothing" }] }));
    const body = goal({ planner_model: "local/small-1" });
    const { status, json } = await rig.ask(acme, "POST", "/v1/runs", { body });
    expect([status, json["code"]]).toEqual([404, "ERR_SKILL_UNKNOWN"]);
    expect(json["detail"]).toContain("Nothing was run");
    expect(questions).toBe(4);
  });
});

describe("a budget of the run's own", () => {
  it("halts the run, and is shown with it", async () => {
    const steps = [call("one"), call("two", { needs: ["one"] })];
    const body = goal({ plan: { steps }, budget: { steps: 1, seconds: 60 } });
    const run = await rig.carryOut(acme, body);
    const { json } = await rig.ask(acme, "GET", `/v1/runs/${run}`);
    expect(json["status"]).toBe("halted");
    const shown = await rig.ask(acme, "GET", `/v1/budgets?run=${run}`);
    const budgets = shown.json["budgets"] as JsonObject[];
    expect(budgets).toContainEqual(
      expect.objectContaining({ scope: "run", subject: run, steps: 1, ms: 60_000, tokens: null }),
    );
    for (const budget of [{ cents: 0 }, { steps: 1.5 }, { dollars: 1 }, { tokens: null }]) {
      const asked = goal({ plan: { steps }, budget });
      expect((await rig.ask(acme, "POST", "/v1/runs", { body: asked })).status).toBe(400);
    }
  });
});

describe("a skill of the tenant's own", () => {
  it("is listed to its tenant, and does a step of a plan; to another it is none", async () => {
    const source = writeOwnSkill(join(folder, "word_count"), WORD_COUNT, {
      ...{ "main.mjs": COUNTS, "lib/count.mjs": COUNT },
    });
    const asked = { tenantId: "acme", folder: source, dryRun: false };
    const { digest } = await rig.services.addSkill(asked);
    const listed = await rig.ask(acme, "GET", "/v1/skills");
    expect(listed.json["own"]).toMatchObject([{ name: "word_count", digest, host: null }]);
    expect(listed.text).not.toContain("main.mjs");
    const step = {
      id: "count",
      skill: "own",
      with: { name: "word_count", input: { text: "a b" } },
    };
    const run = await rig.carryOut(acme, goal({ plan: { steps: [step] } }));
    const trace = await rig.ask(acme, "GET", `/v1/runs/${run}/trace`);
    expect(trace.json["steps"]).toMatchObject([{ output: { value: { words: 2 } } }]);
    const globex = await rig.tokenOf("globex");
    expect((await rig.ask(globex, "GET", "/v1/skills")).json["own"]).toEqual([]);
    const body = goal({ plan: { steps: [step] } });
    const theirs = await rig.ask(globex, "POST", "/v1/runs", { body });
    expect([theirs.status, theirs.json["code"]]).toEqual([404, "ERR_SKILL_UNKNOWN"]);
  });
});
