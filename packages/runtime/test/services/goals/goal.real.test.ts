import { readFileSync } from "node:fs";
import {
  canonicalBytes,
  type ComplianceBundle,
  digestOf,
  type JsonValue,
  type VerificationReport,
} from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { proveRun } from "../../../src/services/runs/run-proof.ts";
import { answerJson, type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
beforeAll(async () => {
  rig = await openGoalRig();
});
afterAll(() => rig.close());
beforeEach(() => {
  rig.answer = answerJson;
});

const call = (id: string, path: string, more: object = {}): object => ({
  id,
  skill: "http_call",
  with: { url: `http://${rig.host}/${path}` },
  ...more,
});
const THREE = (): object[] => [
  call("first", "a"),
  call("second", "${{ steps.first.output.json.url }}"),
  call("third", "c", { when: { value: "${{ steps.first.output.status }}", equals: 500 } }),
];

describe("a goal", () => {
  it("is planned, stored, done and proved, and anybody can verify it", async () => {
    const report = await rig.runGoal(rig.planFile(THREE()));
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    const { runId } = report;
    const row = await rig.installation.store.findRun("acme", runId);
    expect(row).toMatchObject({ kind: "goal", status: "completed" });
    expect(JSON.parse(Buffer.from(row?.plan ?? "").toString())).toMatchObject({
      goal: `look at http://${rig.host}/first`,
      origin_system_id: "billing",
      planner: "file",
    });
    const stored = await rig.installation.store.readTrace("acme", runId);
    expect(stored.heads).toMatchObject([{ status: "completed", step_count: 3 }]);
    expect(
      stored.steps.map(({ step_id, status, resource }) => [step_id, status, resource]),
    ).toEqual([
      ["first", "completed", rig.host],
      ["third", "skipped", null],
      ["second", "completed", rig.host],
    ]);
    const proof = await rig.services.proveRun("acme", runId);
    expect(proof.integrity).toMatchObject({
      model: "HASH_CHAIN",
      verification_status: "VERIFIED",
      chain_length: 3,
      root_hash: stored.heads[0]?.root_hash,
    });
    expect(proof.steps[2]).toMatchObject({ output: { value: { json: { url: "//a" } } } });
  });

  it("by the stub is recorded as the stub's", async () => {
    const report = await rig.runGoal(null);
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    const { steps, trace } = await rig.services.traceRun("acme", report.runId);
    expect(steps).toMatchObject([{ skill: "http_call", status: "completed", attempt: 1 }]);
    expect(trace.status).toBe("completed");
  });

  it("that fails tries again as its plan says, and its proof has every attempt", async () => {
    let calls = 0;
    rig.answer = (_, response) => response.writeHead(++calls < 3 ? 503 : 200).end("x");
    const retry = { max: 3, backoff_ms: 1 };
    const report = await rig.runGoal(rig.planFile([call("flaky", "f", { retry })]));
    expect(report.status).toBe("completed");
    const { steps } = await rig.services.traceRun("acme", report.runId);
    expect(steps.map(({ attempt, status }) => [attempt, status])).toEqual([
      [1, "failed"],
      [2, "failed"],
      [3, "completed"],
    ]);
    const proof = await rig.services.proveRun("acme", report.runId);
    expect(proof.integrity).toMatchObject({ verification_status: "VERIFIED", chain_length: 3 });
  });

  it("that fails for good has a trace that ended, too", async () => {
    const trigger = { id: "no", skill: "__sdsr_fail_trigger__" };
    const report = await rig.runGoal(rig.planFile([trigger]));
    expect(report).toMatchObject({ status: "failed", code: "ERR_SKILL_FAILED", verdict: "VALID" });
    const { heads } = await rig.installation.store.readTrace("acme", report.runId);
    expect(heads).toMatchObject([{ status: "failed" }]);
  });

  it("keeps its rows from whoever has the tables, and from other tenants", async () => {
    const { runId } = await rig.runGoal(rig.planFile([call("one", "one")]));
    const values = [runId];
    for (const sql of [
      "update sovereign.trace_steps set output = '1' where run_id = $1",
      "delete from sovereign.trace_steps where run_id = $1",
      "update sovereign.traces set status = 'failed' where run_id = $1",
      "delete from sovereign.traces where run_id = $1",
    ]) {
      await expect(rig.owner.query(sql, values)).rejects.toThrow(/a trace keeps what has ended/);
    }
    await expect(rig.owner.query("truncate sovereign.traces")).rejects.toThrow(/a trace keeps/);
    const of = await rig.installation.store.readTrace("globex", runId);
    expect(of).toEqual({ heads: [], steps: [] });
  });

  it("is refused before there is a run: without a plan, without a policy, denied", async () => {
    await expect(rig.runGoal(null, { goal: "be good" })).rejects.toMatchObject({
      code: "ERR_PLAN_MISSING",
    });
    await expect(rig.runGoal(null, { policyFile: null })).rejects.toMatchObject({
      code: "ERR_POLICY_MISSING",
    });
    await expect(rig.runGoal(null, { goal: "see http://10.0.0.1/" })).rejects.toMatchObject({
      code: "ERR_POLICY_DENIED",
    });
  });
});

/** What somebody with the database's own role does to a run. @param other of the same tenant */
const DAMAGES: [string, string, RegExp][] = [
  [
    "a changed status of the run",
    "update sovereign.runs set status = 'failed' where run_id = $1",
    /^runs.status/,
  ],
  [
    "a changed plan",
    "update sovereign.runs set plan = convert_to(replace(convert_from(plan, 'UTF8'), 'billing', 'shipping'), 'UTF8') where run_id = $1",
    /^runs.plan/,
  ],
  [
    "a changed seal of the row",
    "update sovereign.runs set sealed_hash = repeat('0', 64) where run_id = $1",
    /^runs.sealed_hash/,
  ],
  ["a dropped run", "delete from sovereign.runs where run_id = $1", /^runs$/],
  [
    "a changed output",
    "update sovereign.trace_steps set output = replace(output, '200', '201') where run_id = $1 and index = 0",
    /^trace_steps\[0\].output/,
  ],
  [
    "a changed input",
    "update sovereign.trace_steps set input = replace(input, 'GET', 'PUT') where run_id = $1 and index = 2",
    /^trace_steps\[2\].input/,
  ],
  [
    "a changed cost",
    "update sovereign.trace_steps set cost_microusd = 7 where run_id = $1 and index = 2",
    /^trace_steps\[2\].cost/,
  ],
  [
    "a changed duration",
    "update sovereign.trace_steps set duration_ms = duration_ms + 1 where run_id = $1 and index = 0",
    /^trace_steps\[0\].duration/,
  ],
  [
    "a dropped step",
    "delete from sovereign.trace_steps where run_id = $1 and index = 1",
    /^trace_steps\[1\]/,
  ],
  [
    "a dropped last step",
    "delete from sovereign.trace_steps where run_id = $1 and index = 2",
    /^trace_steps\[2\]/,
  ],
  [
    "an added step",
    "insert into sovereign.trace_steps select (jsonb_populate_record(t, '{\"index\": 3}')).* from sovereign.trace_steps t where run_id = $1 and index = 0",
    /^trace_steps\[3\]/,
  ],
  [
    "a step of another run in the place of one",
    "update sovereign.trace_steps t set output = o.output, input = o.input, resource = o.resource, started_at = o.started_at from sovereign.trace_steps o where t.run_id = $1 and t.index = 0 and o.run_id = $2 and o.index = 0",
    /^trace_steps\[0\]/,
  ],
  [
    "steps in another order",
    "update sovereign.trace_steps set index = case index when 0 then 2 else 0 end + 100 where run_id = $1 and index in (0, 2)",
    /^trace_steps\[0\]/,
  ],
  [
    "a step of another run",
    "update sovereign.trace_steps set run_id = $2 where run_id = $1 and index = 0",
    /^trace_steps\[0\].run_id/,
  ],
  [
    "a changed trace",
    "update sovereign.traces set status = 'running' where run_id = $1",
    /^traces.status/,
  ],
  [
    "a changed root",
    "update sovereign.traces set root_hash = repeat('0', 64) where run_id = $1",
    /^traces.root_hash/,
  ],
  ["a dropped trace", "delete from sovereign.traces where run_id = $1", /^traces/],
  [
    "a changed step row",
    "update sovereign.steps set attempt = 2 where run_id = $1 and step_id = 'first'",
    /^steps\[first\].attempt/,
  ],
  [
    "a dropped step row",
    "delete from sovereign.steps where run_id = $1 and step_id = 'second'",
    /^steps\[second\]/,
  ],
  [
    "a changed entry",
    "update sovereign.entries set bytes = convert_to(replace(convert_from(bytes, 'UTF8'), 'first', 'thirst'), 'UTF8') where stream = $1 and sequence = 1",
    /^entries/,
  ],
  [
    "a dropped entry",
    "delete from sovereign.entries where stream = $1 and sequence = 2",
    /^entries/,
  ],
  [
    "a dropped seal",
    "delete from sovereign.entries where stream = $1 and sequence = (select max(sequence) from sovereign.entries where stream = $1)",
    /./,
  ],
  [
    "a dropped envelope",
    "delete from sovereign.envelopes where log_id = 'acme' and digest = (select convert_from(bytes, 'UTF8')::json -> 'data' -> 'envelopes' ->> 'run_proof' from sovereign.entries where stream = $1 order by sequence desc limit 1)",
    /^entries/,
  ],
];

describe("a run's proof fails, with the place, after", () => {
  let runId: string;
  let other: string;
  const TABLES = ["runs", "steps", "traces", "trace_steps", "entries", "envelopes"];

  beforeAll(async () => {
    rig.answer = answerJson;
    ({ runId } = await rig.runGoal(rig.planFile(THREE())));
    ({ runId: other } = await rig.runGoal(rig.planFile(THREE())));
    await rig.owner.query("set session_replication_role = replica");
    for (const table of TABLES) {
      await rig.owner.query(
        `create table public.kept_${table} as select * from sovereign.${table}`,
      );
    }
  });

  const restore = async (): Promise<void> => {
    for (const table of TABLES) {
      const columns = await rig.owner.query<{ name: string }>(
        "select attname as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and attgenerated = ''",
        [`sovereign.${table}`],
      );
      const names = columns.rows.map(({ name }) => `"${name}"`).join(", ");
      await rig.owner.query(`delete from sovereign.${table}`);
      await rig.owner.query(
        `insert into sovereign.${table} (${names}) select ${names} from public.kept_${table}`,
      );
    }
  };

  it.each(DAMAGES)("%s", async (_, sql, place) => {
    await rig.owner.query(sql, sql.includes("$2") ? [runId, other] : [runId]);
    const { integrity } = await proveRun(rig.installation, "acme", runId);
    await restore();
    expect(integrity.verification_status).toBe("FAILED");
    expect(integrity.place).toMatch(place);
    expect(integrity.failure_reason).not.toBe("");
  });

  it("nothing: it is verified", async () => {
    const { integrity } = await proveRun(rig.installation, "acme", runId);
    expect(integrity).toMatchObject({ verification_status: "VERIFIED", place: null });
  });
});

describe("the enforcement guard", () => {
  it("halts a run of which a step has lost its authorisation, and names the step", async () => {
    rig.answer = (url, response) => {
      if (!url.includes("second")) {
        response.end("x");
        return;
      }
      void rig.owner
        .query("set session_replication_role = replica")
        .then(() =>
          rig.owner.query(
            "delete from sovereign.entries where log_id = 'globex' and convert_from(bytes, 'UTF8')::json ->> 'event_type' = 'execution.authorized' and convert_from(bytes, 'UTF8')::json -> 'data' -> 'context' ->> 'step_id' = 'first'",
          ),
        )
        .finally(() => response.end("y"));
    };
    const steps = [call("first", "first"), call("second", "second", { needs: ["first"] })];
    const report = await rig.runGoal(rig.planFile(steps), { tenantId: "globex" });
    expect(report).toMatchObject({ status: "halted", code: "ERR_ENFORCEMENT_MISSING" });
    expect(report.reason).toContain("first");
    const row = await rig.installation.store.findRun("globex", report.runId);
    expect(row).toMatchObject({ status: "halted" });
    const { heads } = await rig.installation.store.readTrace("globex", report.runId);
    expect(heads).toMatchObject([{ status: "halted" }]);
    const { integrity } = await proveRun(rig.installation, "globex", report.runId);
    expect(integrity.verification_status).toBe("FAILED");
  });
});

type Goal = NonNullable<ComplianceBundle["goal"]>;

/** What a forger does to the record of a goal, with the manifest made to fit. */
const FORGERIES: [string, (goal: Goal) => unknown, RegExp][] = [
  ["a changed output", ({ steps }) => (last(steps).output = 1), /^goal.steps\[2\]/],
  ["a changed cost", ({ steps }) => (last(steps).cost_microusd = 9), /^goal.steps\[2\]/],
  ["a dropped step", ({ steps }) => steps.pop(), /^goal.steps/],
  ["an added step", ({ steps }) => steps.push(last(steps)), /^goal.steps\[3\]/],
  ["another order", ({ steps }) => steps.reverse(), /^goal.steps\[0\]/],
  ["another plan", ({ plan }) => (plan["goal"] = "x"), /^goal.plan/],
  ["another end", ({ trace }) => (trace.status = "failed"), /^goal.trace/],
  ["another root", ({ integrity }) => (integrity.root_hash = "0".repeat(64)), /^goal.integrity/],
];

function last<T>(list: readonly T[]): T {
  return list.at(-1) as T;
}

describe("the bundle of a goal", () => {
  let bytes: Uint8Array;
  let trustRoot: Uint8Array;
  const judge = (forge: (bundle: ComplianceBundle) => unknown): VerificationReport => {
    const bundle = JSON.parse(Buffer.from(bytes).toString()) as ComplianceBundle;
    forge(bundle);
    const { sections } = bundle.manifest;
    if (bundle.goal !== undefined) sections.goal = digestOf(bundle.goal);
    return verifyBundle(canonicalBytes(bundle as unknown as JsonValue), { trustRoot });
  };
  beforeAll(async () => {
    rig.answer = answerJson;
    const report = await rig.runGoal(rig.planFile(THREE()));
    bytes = readFileSync(report.bundle ?? "");
    trustRoot = readFileSync(report.trustRoot ?? "");
  });

  it("holds plan, steps and root, and is valid", () => {
    expect(judge(() => undefined).verdict).toBe("VALID");
    judge(({ goal }) => {
      expect(goal?.steps).toHaveLength(3);
      expect(goal?.plan["goal"]).toContain("look at");
    });
  });

  it.each(FORGERIES)("is invalid with %s", (_, forge, place) => {
    const report = judge(({ goal }) => forge(goal as Goal));
    expect(report.verdict).toBe("INVALID");
    const attestation = report.steps.find(({ name }) => name === "attestation");
    expect(attestation?.first_failure?.place).toMatch(place);
  });

  it("is invalid without its record", () => {
    const report = judge((bundle) => {
      delete bundle.goal;
      delete bundle.manifest.sections.goal;
    });
    expect(report.verdict).toBe("INVALID");
  });
});
