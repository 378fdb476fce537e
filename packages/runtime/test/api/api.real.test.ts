import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalBytes, type LedgerEntry } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ROUTES } from "../../src/api/index.ts";
import { ScramLatch } from "../../src/scram/index.ts";
import { ALL, type ApiRig, askRaw, openApiRig } from "../support/api-rig.ts";
import { answerJson } from "../support/goal-rig.ts";
import { schemaFaults } from "../support/event-schemas.ts";

let rig: ApiRig;
let acme: string;
let globex: string;
beforeAll(async () => {
  rig = await openApiRig();
  acme = await rig.tokenOf("acme");
  globex = await rig.tokenOf("globex");
});
afterAll(() => rig.close());
afterEach(() => {
  rig.answer = answerJson;
  expect(rig.faults).toEqual([]);
});

const steps = (path = "first"): object[] => [
  { id: "first", skill: "http_call", with: { url: `http://${rig.host}/${path}` } },
  {
    id: "second",
    skill: "http_call",
    with: { url: `http://${rig.host}/\${{ steps.first.output.json.url }}` },
  },
];
const goal = (more: object = {}): object => ({
  goal: `look at http://${rig.host}/first`,
  agent_id: "46f4830d-e2e0-4a0a-aba4-d2741abd2ae1",
  origin_system_id: "billing",
  plan: { steps: steps() },
  ...more,
});

async function entriesOf(run: string): Promise<LedgerEntry[]> {
  return (await rig.api.readEvents("acme", run, 0)).events.map(({ entry }) => entry);
}

describe("a goal that is submitted", () => {
  it("is durable before it is acknowledged, is carried out, and its evidence is VALID", async () => {
    const begun = await rig.ask(acme, "POST", "/v1/runs", { body: goal() });
    expect(begun).toMatchObject({ status: 202, json: { is_new: true } });
    const run = String(begun.json["run_id"]);
    expect(await rig.installation.store.findRun("acme", run)).not.toBeNull();
    const ended = await rig.ended(acme, run);
    expect(ended.json).toMatchObject({ status: "completed", kind: "goal", published: true });
    const bundle = await rig.ask(acme, "GET", `/v1/runs/${run}/bundle`);
    const trust = await rig.ask(acme, "GET", "/v1/trust-root");
    const root = Buffer.from(trust.text);
    expect(verifyBundle(Buffer.from(bundle.text), { trustRoot: root }).verdict).toBe("VALID");
    const proof = await rig.ask(acme, "GET", `/v1/runs/${run}/proof`);
    expect(proof.json["integrity"]).toMatchObject({ verification_status: "VERIFIED" });
  });

  it("comes to the same records as on the command line, and says who submitted it", async () => {
    const run = await rig.carryOut(acme, goal());
    const typed = await rig.runGoal(rig.planFile(steps()));
    const [of, ofTyped] = [await entriesOf(run), await entriesOf(typed.runId)];
    expect(of.map(({ event_type }) => event_type)).toEqual(
      ofTyped.map(({ event_type }) => event_type),
    );
    const tokenId = await rig.tokenIdOf(acme);
    const caller = { door: "http", token_id: tokenId, scopes: [...ALL].sort() };
    const { caller: found, ...admitted } = of[0]?.data ?? {};
    expect(found).toEqual(caller);
    expect(schemaFaults("run.admitted", of[0]?.data ?? {})).toEqual([]);
    const other = ofTyped[0]?.data ?? {};
    expect(other["caller"]).toBeUndefined();
    const same = ["plan_digest", "policy_digest", "mode", "kind", "name", "installation_id"];
    for (const key of same) expect(admitted[key], key).toEqual(other[key]);
    // The caller is in the signed configuration, which every decision is made over.
    expect(admitted["config_digest"]).not.toBe(other["config_digest"]);
    const traces = [run, typed.runId].map(async (id) => {
      const { json } = await rig.ask(acme, "GET", `/v1/runs/${id}/trace`);
      const rows = json["steps"] as Record<string, unknown>[];
      return rows.map(({ step_id, skill, status, input, output_digest }) => ({
        ...{ step_id, skill, status, input, output_digest },
      }));
    });
    const [first, second] = await Promise.all(traces);
    expect(first).toHaveLength(2);
    expect(first).toEqual(second);
  });

  it("by the stub, with inputs in the place of the plan's, or refused, is told in JSON", async () => {
    const stub = goal({ plan: undefined });
    expect((await rig.ended(acme, await rig.carryOut(acme, stub))).json["status"]).toBe(
      "completed",
    );
    const plan = {
      inputs: { path: "a" },
      steps: [{ ...steps()[0], with: { url: `http://${rig.host}/\${{ inputs.path }}` } }],
    };
    const run = await rig.carryOut(acme, goal({ plan, inputs: { path: "given" } }));
    const trace = await rig.ask(acme, "GET", `/v1/runs/${run}/trace`);
    expect(trace.text).toContain(`http://${rig.host}/given`);
    for (const [body, code, exit] of [
      [goal({ plan: { steps: [{ id: "x", skill: "nothing" }] } }), "ERR_SKILL_UNKNOWN", 2],
      [
        goal({
          plan: { steps: [{ id: "x", skill: "http_call", with: { url: "http://10.0.0.1/" } }] },
        }),
        "ERR_POLICY_DENIED",
        3,
      ],
      [goal({ policy: { policy_id: "mine" } }), "ERR_HTTP_REQUEST", 2],
      [goal({ tenant_id: "globex" }), "ERR_HTTP_REQUEST", 2],
      [{}, "ERR_HTTP_REQUEST", 2],
      [goal({ agent_id: "\n" }), "ERR_HTTP_REQUEST", 2],
    ] as const) {
      const { status, json, headers } = await rig.ask(acme, "POST", "/v1/runs", { body });
      expect(headers.get("content-type")).toBe("application/problem+json");
      expect(json).toMatchObject({ code, exit, status, type: `urn:sovereign:error:${code}` });
    }
  });

  it("without a policy of its tenant is begun for nobody, and no path of ours is told", async () => {
    const initech = await rig.tokenOf("initech");
    const { status, json, text } = await rig.ask(initech, "POST", "/v1/runs", { body: goal() });
    expect([status, json["code"]]).toEqual([400, "ERR_POLICY_MISSING"]);
    expect(text).not.toContain(rig.services.home);
  });

  it("under the same key is the same run; under the key of another it is refused", async () => {
    const headers = { "idempotency-key": "invoice-7" };
    const asked = Array.from({ length: 3 }, () =>
      rig.ask(acme, "POST", "/v1/runs", { body: goal(), headers }),
    );
    const answers = await Promise.all(asked);
    expect(new Set(answers.map(({ json }) => json["run_id"])).size).toBe(1);
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1);
    const run = String(answers[0]?.json["run_id"]);
    await rig.ended(acme, run);
    const again = await rig.ask(acme, "POST", "/v1/runs", { body: goal(), headers });
    expect(again).toMatchObject({ status: 200, json: { run_id: run, is_new: false } });
    const other = await rig.ask(acme, "POST", "/v1/runs", {
      body: goal({ goal: "more" }),
      headers,
    });
    expect(other).toMatchObject({ status: 409, json: { code: "ERR_IDEMPOTENCY_CONFLICT" } });
    // The key is the tenant's own.
    const theirs = await rig.ask(globex, "POST", "/v1/runs", { body: goal(), headers });
    expect(theirs.status).toBe(202);
    await rig.ended(globex, String(theirs.json["run_id"]));
  });

  it("beyond what a tenant may have at work waits for nobody: it is refused", async () => {
    const held: (() => void)[] = [];
    rig.answer = (url, response) =>
      held.push(() => {
        answerJson(url, response);
      });
    const begun = await Promise.all(
      Array.from({ length: 4 }, () => rig.ask(acme, "POST", "/v1/runs", { body: goal() })),
    );
    expect(begun.map(({ status }) => status)).toEqual([202, 202, 202, 202]);
    const fifth = await rig.ask(acme, "POST", "/v1/runs", { body: goal() });
    expect(fifth).toMatchObject({ status: 503, json: { code: "ERR_HTTP_BUSY" } });
    expect(fifth.headers.get("retry-after")).toBe("1");
    const working = String(begun[0]?.json["run_id"]);
    const resumed = await rig.ask(acme, "POST", `/v1/runs/${working}/resume`);
    expect(resumed).toMatchObject({ status: 409, json: { code: "ERR_RUN_AT_WORK" } });
    const early = await rig.ask(acme, "GET", `/v1/runs/${working}/bundle`);
    expect(early).toMatchObject({ status: 409, json: { code: "ERR_RUN_UNSEALED" } });
    const theirs = await rig.ask(globex, "POST", "/v1/runs", { body: goal() });
    expect(theirs.status).toBe(202);
    rig.answer = answerJson;
    const release = setInterval(() => {
      for (const one of held.splice(0)) one();
    }, 20);
    for (const { json } of begun) await rig.ended(acme, String(json["run_id"]));
    await rig.ended(globex, String(theirs.json["run_id"]));
    clearInterval(release);
    const sealed = await rig.ask(acme, "POST", `/v1/runs/${working}/resume`);
    expect(sealed).toMatchObject({ status: 409, json: { code: "ERR_RUN_SEALED" } });
  });
});

describe("a run that is ended or gone on with by its caller", () => {
  it("is cancelled while it works, by the token's name, and its evidence is VALID", async () => {
    let held = (): void => undefined;
    rig.answer = (url, response) => {
      held = () => {
        answerJson(url, response);
      };
    };
    const begun = await rig.ask(acme, "POST", "/v1/runs", { body: goal() });
    const run = String(begun.json["run_id"]);
    const path = `/v1/runs/${run}/cancel`;
    const without = await rig.ask(acme, "POST", path, { body: {} });
    expect(without).toMatchObject({ status: 400, json: { code: "ERR_HTTP_REQUEST" } });
    const reader = await rig.tokenOf("acme", ["runs:read"]);
    const refused = await rig.ask(reader, "POST", path, { body: { reason: "no" } });
    expect(refused).toMatchObject({ status: 403, json: { code: "ERR_HTTP_SCOPE" } });
    const ended = await rig.ask(acme, "POST", path, { body: { reason: "not needed" } });
    held();
    expect(ended).toMatchObject({ status: 200, json: { run_id: run, status: "failed" } });
    const tokenId = await rig.tokenIdOf(acme);
    expect(String(ended.json["reason"])).toContain(`token ${tokenId}`);
    const bundle = await rig.ask(acme, "GET", `/v1/runs/${run}/bundle`);
    const trust = await rig.ask(acme, "GET", "/v1/trust-root");
    const trustRoot = Buffer.from(trust.text);
    expect(verifyBundle(Buffer.from(bundle.text), { trustRoot }).verdict).toBe("VALID");
    const again = await rig.ask(acme, "POST", path, { body: { reason: "again" } });
    expect(again).toMatchObject({ status: 409, json: { code: "ERR_RUN_SEALED" } });
    const retried = await rig.ask(acme, "POST", `/v1/runs/${run}/retry`);
    expect(retried).toMatchObject({ status: 409, json: { code: "ERR_RUN_SEALED" } });
  });

  it("shows incidents, budgets and breakers as the command line does, to who may see them", async () => {
    rig.answer = (_url, response) => {
      response.statusCode = 500;
      response.end("{}");
    };
    const failing = { id: "a", skill: "http_call", with: { url: `http://${rig.host}/fails` } };
    // Five failures open the breaker, and the sixth is an incident.
    for (let count = 0; count < 6; count++)
      await rig.carryOut(acme, goal({ plan: { steps: [failing] } }));
    const breakers = await rig.ask(acme, "GET", "/v1/breakers");
    expect(breakers.json).toEqual({
      breakers: (await rig.installation.store.breakers("acme").list()).map((one) => ({ ...one })),
    });
    const found = await rig.ask(acme, "GET", "/v1/incidents?state=open");
    const listed = found.json["incidents"] as { incident_id: string; kind: string }[];
    const wanted = { limit: 50, state: "open", kind: null } as const;
    expect(listed).toEqual(await rig.services.listIncidents("acme", wanted));
    const [first] = listed;
    expect(first).toBeDefined();
    const at = `/v1/incidents/${first?.incident_id ?? ""}`;
    const shown = await rig.ask(acme, "GET", at);
    expect(shown.json["entries"]).not.toEqual([]);
    const tokenId = await rig.tokenIdOf(acme);
    const acknowledged = await rig.ask(acme, "POST", `${at}/acknowledge`);
    expect(acknowledged.json).toMatchObject({
      state: "acknowledged",
      acknowledged_by: `token ${tokenId}`,
    });
    const body = { note: "the host is back" };
    for (const path of [at, `${at}/acknowledge`, `${at}/resolve`]) {
      const method = path === at ? "GET" : "POST";
      const theirs = await rig.ask(globex, method, path, method === "GET" ? {} : { body });
      expect(theirs).toMatchObject({ status: 404, json: { code: "ERR_INCIDENT_NOT_FOUND" } });
    }
    const resolved = await rig.ask(acme, "POST", `${at}/resolve`, { body });
    expect(resolved.json).toMatchObject({ state: "resolved", note: "the host is back" });
    const twice = await rig.ask(acme, "POST", `${at}/resolve`, { body });
    expect(twice).toMatchObject({ json: { code: "ERR_INCIDENT_RESOLVED" } });
    const budgets = await rig.ask(acme, "GET", "/v1/budgets");
    expect(budgets.json).toEqual({ budgets: await rig.services.showBudgets("acme", null) });
    const weak = await rig.tokenOf("acme", ["skills:read"]);
    for (const path of ["/v1/breakers", "/v1/incidents", "/v1/budgets", at])
      expect((await rig.ask(weak, "GET", path)).status, path).toBe(403);
    await rig.owner.query("delete from sovereign.breakers");
  });
});

describe("events", () => {
  it("are the ledger's entries, go on after the last one that was seen, and end with the run", async () => {
    const begun = await rig.ask(acme, "POST", "/v1/runs", { body: goal() });
    const path = `/v1/runs/${String(begun.json["run_id"])}/events`;
    const all = await rig.ask(acme, "GET", path);
    expect(all.headers.get("content-type")).toBe("text/event-stream");
    const told = eventsIn(all.text);
    const recorded = await entriesOf(String(begun.json["run_id"]));
    expect(told.map(({ data }) => data)).toEqual(recorded);
    expect(told.map(({ id, event }) => [id, event])).toEqual(
      recorded.map(({ sequence, event_type }) => [sequence, event_type]),
    );
    expect(told.at(-1)?.event).toBe("run.sealed");
    const rest = await rig.ask(acme, "GET", path, { headers: { "last-event-id": "1" } });
    expect(eventsIn(rest.text).map(({ id }) => id)).toEqual(told.slice(2).map(({ id }) => id));
    const last = { "last-event-id": String(told.at(-1)?.id) };
    expect((await rig.ask(acme, "GET", path, { headers: last })).status).toBe(204);
    const wrong = await rig.ask(acme, "GET", path, { headers: { "last-event-id": "x" } });
    expect(wrong.json["code"]).toBe("ERR_HTTP_REQUEST");
  });

  it("end when the token is revoked", async () => {
    let release = (): void => undefined;
    rig.answer = (url, response) => {
      release = () => {
        answerJson(url, response);
      };
    };
    const { token, tokenId } = await rig.tokens.createToken({
      ...{ tenantId: "acme", scopes: ALL, label: "", validMs: 60_000 },
    });
    const begun = await rig.ask(token, "POST", "/v1/runs", { body: goal() });
    const run = String(begun.json["run_id"]);
    const stream = rig.ask(token, "GET", `/v1/runs/${run}/events`);
    await rig.tokens.revokeToken("acme", tokenId);
    const { text, status } = await stream;
    expect(status === 200 ? eventsIn(text).at(-1)?.event : status).not.toBe("run.sealed");
    expect((await rig.ask(token, "GET", `/v1/runs/${run}`)).status).toBe(401);
    rig.answer = answerJson;
    release();
    await rig.ended(acme, run);
  });
});

function eventsIn(text: string): { id: number; event: string; data: LedgerEntry }[] {
  return text.split("\n\n").flatMap((block) => {
    const [, id, event = "", data = ""] = /^id: (\d+)\nevent: (\S+)\ndata: (.*)$/.exec(block) ?? [];
    return id === undefined
      ? []
      : [{ id: Number(id), event, data: JSON.parse(data) as LedgerEntry }];
  });
}

describe("another tenant", () => {
  it("is told of a run what is told of one that there never was, on every route", async () => {
    const run = await rig.carryOut(acme, goal());
    const { artifacts } = (await rig.ask(acme, "GET", `/v1/runs/${run}/artifacts`)).json as {
      artifacts: { sha256: string }[];
    };
    const sha256 = artifacts[0]?.sha256 ?? "";
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    expect((await rig.ask(acme, "GET", `/v1/runs/${run}/artifacts/${sha256}`)).text).toBe(
      '{"url":"/first"}',
    );
    const none = `run_${"z".repeat(20)}`;
    const routes = ROUTES.filter(({ path }) => path.includes("{run}"));
    expect(routes.length).toBeGreaterThan(7);
    for (const { id, method, path } of routes) {
      const at = (of: string): string => path.replace("{run}", of).replace("{sha256}", sha256);
      const body = id === "cancelRun" ? { body: { reason: "mine" } } : {};
      const found = await rig.ask(globex, method, at(run), body);
      const unknown = await rig.ask(globex, method, at(none), body);
      expect(found.status, id).toBe(404);
      expect(found.text.replaceAll(run, none), id).toBe(unknown.text);
    }
    const cursor = await rig.ask(globex, "GET", `/v1/runs?after=${run}`);
    const unknown = await rig.ask(globex, "GET", `/v1/runs?after=${none}`);
    expect(cursor.text.replaceAll(run, none)).toBe(unknown.text);
    const listed = await rig.ask(globex, "GET", "/v1/runs?limit=200");
    expect(listed.text).not.toContain(run);
    const own = await rig.ask(globex, "GET", "/v1/caller");
    expect(own.json).toMatchObject({ tenant_id: "globex" });
  });

  it("cannot reach an artifact of another run of its own, either", async () => {
    const first = await rig.carryOut(acme, goal());
    const second = await rig.carryOut(acme, goal({ plan: { steps: steps("other") } }));
    const { artifacts } = (await rig.ask(acme, "GET", `/v1/runs/${first}/artifacts`)).json as {
      artifacts: { sha256: string }[];
    };
    const path = `/v1/runs/${second}/artifacts/${artifacts[0]?.sha256 ?? ""}`;
    expect((await rig.ask(acme, "GET", path)).json["code"]).toBe("ERR_ARTIFACT_NOT_FOUND");
  });
});

describe("a token", () => {
  it("that is missing, malformed, expired, revoked or doubled is refused alike", async () => {
    const expired = await rig.tokenOf("acme", ALL, 1);
    const { token: revoked, tokenId } = await rig.tokens.createToken({
      ...{ tenantId: "acme", scopes: ALL, label: "", validMs: 60_000 },
    });
    await rig.tokens.revokeToken("acme", tokenId);
    const unknown = `sovt_${"A".repeat(43)}`;
    const texts = new Set<string>();
    for (const token of [null, "", "x", unknown, expired, revoked, `${acme}x`, acme.slice(0, -1)]) {
      const { status, text, headers } = await rig.ask(token, "GET", "/v1/runs");
      expect([token?.length, status]).toEqual([token?.length, 401]);
      expect(headers.get("www-authenticate")).toMatch(/^Bearer/);
      texts.add(text);
    }
    expect(texts.size).toBe(1);
    expect([...texts][0]).toContain("ERR_HTTP_UNAUTHENTICATED");
    for (const authorization of [[`Bearer ${acme}`, `Bearer ${globex}`], `Basic ${acme}`, acme]) {
      const { status } = await askRaw(rig.server.url, "/v1/runs", { authorization });
      expect(status).toBe(401);
    }
    const query = await rig.ask(null, "GET", `/v1/runs?access_token=${acme}`);
    expect(query.status).toBe(401);
  });

  it("does what its scopes say, on every route", async () => {
    for (const scope of ALL) {
      const token = await rig.tokenOf("acme", [scope]);
      for (const route of ROUTES) {
        if (route.scope === "public" || route.scope === null || route.method === "POST") continue;
        const path = route.path
          .replace("{run}", `run_${"z".repeat(20)}`)
          .replace("{sha256}", "0".repeat(64));
        const { status, json } = await rig.ask(token, route.method, path);
        const isRefused = status === 403 && json["code"] === "ERR_HTTP_SCOPE";
        expect(isRefused, `${scope} ${route.id}`).toBe(route.scope !== scope);
      }
      const submitted = await rig.ask(token, "POST", "/v1/runs", { body: {} });
      expect(submitted.status, scope).toBe(scope === "runs:write" ? 400 : 403);
    }
  });
});

describe("pages", () => {
  it("of runs follow one another, newest first, without one twice", async () => {
    const initech = await rig.tokenOf("initech");
    const policy = readFileSync(join(rig.services.home, "policies", "acme.yaml"));
    writeFileSync(join(rig.services.home, "policies", "initech.yaml"), policy);
    const runs: string[] = [];
    for (let at = 0; at < 3; at++) runs.unshift(await rig.carryOut(initech, goal()));
    const seen: unknown[] = [];
    for (let after = ""; ; ) {
      const { json } = await rig.ask(initech, "GET", `/v1/runs?limit=2${after}`);
      const page = json as { runs: { run_id: string }[]; next: string | null };
      seen.push(...page.runs.map(({ run_id }) => run_id));
      if (page.next === null) break;
      after = `&after=${page.next}`;
    }
    expect(seen).toEqual(runs);
    for (const query of [
      "limit=0",
      "limit=201",
      "limit=x",
      "status=none",
      "after=x",
      "a=b",
      "limit=1&limit=2",
    ]) {
      const { status } = await rig.ask(initech, "GET", `/v1/runs?${query}`);
      expect(status, query).toBe(400);
    }
  });
});

describe("the kill switch", () => {
  it("that is tripped keeps goals from being begun, and nothing from being read", async () => {
    const run = await rig.carryOut(acme, goal());
    expect((await rig.ask(null, "GET", "/readyz")).json).toEqual({ status: "ready", code: null });
    const latch = new ScramLatch(join(rig.services.home, "scram"));
    latch.trip({
      event_id: `SCRAM-${"A".repeat(20)}`,
      scope: { kind: "all" },
      reason: "system_critical",
      tripped_at: "2026-01-01T00:00:00.000Z",
    });
    const refused = await rig.ask(acme, "POST", "/v1/runs", { body: goal() });
    expect(refused).toMatchObject({ status: 503, json: { code: "ERR_SCRAM_TRIPPED", exit: 5 } });
    const ready = await rig.ask(null, "GET", "/readyz");
    expect(ready).toMatchObject({ status: 503, json: { code: "ERR_SCRAM_TRIPPED" } });
    expect((await rig.ask(null, "GET", "/healthz")).status).toBe(200);
    expect((await rig.ask(acme, "GET", `/v1/runs/${run}/trace`)).status).toBe(200);
  });
});

describe("skills", () => {
  it("are those of the command line", async () => {
    const { json } = await rig.ask(acme, "GET", "/v1/skills");
    const expected = canonicalBytes(structuredClone(rig.services.listSkills()) as never);
    expect(canonicalBytes(json["skills"] as never)).toEqual(expected);
  });
});
