import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { type EntryData, sha256Hex } from "@sovereign/core";
import { DAMAGES, damaged } from "./damages.ts";
import { all, eventsOf, type Finding, goalOf, type Row, same } from "./findings.ts";
import { AGENT, ORIGIN, OTHER_TENANT, type Place, TENANT } from "./place.ts";
import { ask, call, DOORS, lateDenial, type Step } from "./scenarios.ts";

const MIGRATIONS = resolve(import.meta.dirname, "../../packages/runtime/src/store/migrations");

const PRECONDITIONS: readonly Row[] = [
  {
    id: "0.1",
    criterion: "The database is reachable, and is PostgreSQL",
    check: async ({ place }) => {
      const [row] = await place.rows(
        "select current_setting('server_version_num')::int as version",
      );
      const version = Number(row?.["version"]);
      return { holds: version >= 150_000, found: `server_version_num ${version}` };
    },
  },
  {
    id: "0.2",
    criterion: "The schema is at the newest migration",
    check: async ({ place }) => {
      const rows = await place.rows("select name from public.sovereign_migrations order by name");
      const files = readdirSync(MIGRATIONS).filter((name) => name.endsWith(".sql"));
      const last = (names: readonly string[]): unknown => [names.length, names.at(-1)];
      const applied = rows.map(({ name }) => String(name).replace(/\.sql$/, ""));
      return same(last(applied), last(files.sort().map((name) => name.replace(/\.sql$/, ""))));
    },
  },
  {
    id: "0.3",
    criterion: "Runs and traces are rows of PostgreSQL, under forced row-level security",
    check: async ({ place }) => {
      const rows = await place.rows(
        "select relname as name, relforcerowsecurity as forced from pg_class where relnamespace = 'sovereign'::regnamespace and relname in ('runs', 'traces', 'trace_steps') order by relname",
      );
      return same(
        rows,
        ["runs", "trace_steps", "traces"].map((name) => ({ name, forced: true })),
      );
    },
  },
  {
    id: "0.4",
    criterion: "The skill registry has http_call among eleven skills",
    check: async ({ place }) => {
      const { out } = await place.type("list-skills");
      const names = [...out.matchAll(/"name":"([a-z_]+)","version"/g)].map(([, name]) => name);
      return all(same(names.includes("http_call"), true), same(names.length >= 11, true), {
        holds: true,
        found: `${names.length} skills`,
      });
    },
  },
];

const STATIC: readonly Row[] = [
  {
    id: "1.1",
    criterion: "A goal without --tenant-id is refused, and nothing is run",
    check: async ({ place }) => {
      const before = place.asked.length;
      const words = ["--agent-id", AGENT, "--goal", goalOf(place).goal, "--planner", "stub"];
      const { code, out } = await place.type("run", ...words);
      const runs = await place.rows("select 1 from sovereign.runs where log_id = 'default'");
      return all(
        same({ exit: code, names: out.includes("--tenant-id") }, { exit: 2, names: true }),
        same(
          { runs: runs.length, requests: place.asked.length - before },
          { runs: 0, requests: 0 },
        ),
      );
    },
  },
  {
    id: "1.2",
    criterion: "--origin-system-id has a default, which is recorded",
    check: async ({ place }) => {
      const { goal, agent_id } = goalOf(place);
      const { run, status } = await place.run({ goal, agent_id });
      const plan = await planOf(place, String(run));
      return same([status, plan["origin_system_id"]], ["completed", "cli"]);
    },
  },
  {
    id: "1.3",
    criterion: "Without a plan, and without a policy, there is no run",
    check: async ({ place }) => {
      const [count] = await place.rows("select count(*)::int as n from sovereign.runs");
      const unplanned = await place.run(goalOf(place, { goal: "be good" }));
      const words = ["--agent-id", AGENT, "--goal", goalOf(place).goal, "--planner", "stub"];
      const lawless = await place.type("run", "--tenant-id", "nobody", ...words);
      const { code } = (lawless.documents.at(-1)?.["error"] ?? {}) as { code?: string };
      const [after] = await place.rows("select count(*)::int as n from sovereign.runs");
      return all(
        same([unplanned.code, code], ["ERR_PLAN_MISSING", "ERR_POLICY_MISSING"]),
        same(after, count),
      );
    },
  },
];

async function planOf(place: Place, run: string): Promise<Record<string, unknown>> {
  const [row] = await place.rows(
    "select convert_from(plan, 'UTF8')::json as plan from sovereign.runs where run_id = $1",
    run,
  );
  return (row?.["plan"] ?? {}) as Record<string, unknown>;
}

const CRITERIA: readonly Row[] = [
  {
    id: "6.1",
    criterion: "The command line creates a run with explicit tenant and origin system",
    check: async ({ place, run }) => {
      const id = await run();
      const [row] = await place.rows(
        "select log_id as tenant, kind, status from sovereign.runs where run_id = $1",
        id,
      );
      const { origin_system_id, planner } = await planOf(place, id);
      const calls = place.asked.filter((one) => one === "GET /zen").length;
      return all(
        same({ ...row }, { tenant: TENANT, kind: "goal", status: "completed" }),
        same({ origin_system_id, planner }, { origin_system_id: ORIGIN, planner: "stub" }),
        { holds: calls > 0, found: `the server was asked ${calls} times for /zen` },
      );
    },
  },
  {
    id: "6.2",
    criterion: "The plan is made and stored before anything is done",
    check: async ({ place, run }) => {
      const id = await run();
      const [row] = await place.rows("select plan from sovereign.runs where run_id = $1", id);
      const stored = row?.["plan"];
      const digest = Buffer.isBuffer(stored) ? sha256Hex(stored) : "none";
      const entries = place.entriesOf(id);
      const events = eventsOf(entries);
      const admitted = entries[0]?.data as EntryData<"run.admitted"> | undefined;
      return all(
        same(events[0], "run.admitted"),
        same({ named_first: admitted?.plan_digest }, { named_first: digest }),
        { holds: events.indexOf("execution.authorized") > 0, found: events.join(" ") },
      );
    },
  },
  {
    id: "6.3",
    criterion: "The trace's rows exist: it is completed, and each step has its row",
    check: async ({ place, run }) => {
      const id = await run();
      const heads = await place.rows(
        "select status, completed_at is not null as ended, step_count::int as steps from sovereign.traces where run_id = $1",
        id,
      );
      const steps = await place.rows(
        "select skill, status, attempt::int as attempt from sovereign.trace_steps where run_id = $1",
        id,
      );
      return all(
        same(heads, [{ status: "completed", ended: true, steps: 1 }]),
        same(steps, [{ skill: "http_call", status: "completed", attempt: 1 }]),
      );
    },
  },
  {
    id: "6.4",
    criterion: "The proof is HASH_CHAIN and VERIFIED, over the root that was sealed",
    check: async ({ place, run }) => {
      const id = await run();
      const { code, documents } = await place.type("runs", "proof", id, "--tenant-id", TENANT);
      const { integrity, traces, steps } = (documents[0] ?? {}) as unknown as Proof;
      const { model, verification_status, chain_length, root_hash } = integrity;
      const [head] = await place.rows(
        "select root_hash from sovereign.traces where run_id = $1",
        id,
      );
      return all(
        same({ exit: code, model, verification_status }, PROVED),
        same([chain_length, traces.length, steps.length], [1, 1, 1]),
        same({ root_hash }, { root_hash: head?.["root_hash"] }),
        { holds: /^[0-9a-f]{64}$/.test(root_hash ?? ""), found: "64 digits" },
      );
    },
  },
  {
    id: "6.5",
    criterion: "The proof FAILS, with the place, after each kind of damage",
    check: async ({ place, run }) => {
      const id = await run();
      const findings: Finding[] = [];
      for (const [what, sql, at] of DAMAGES) {
        const { documents } = await damaged(place, id, sql, () =>
          place.type("runs", "proof", id, "--tenant-id", TENANT),
        );
        const { integrity } = (documents[0] ?? {}) as unknown as Partial<Proof>;
        const { verification_status: status = "none", place: where = null } = integrity ?? {};
        const holds = status === "FAILED" && at.test(where ?? "");
        findings.push({ holds, found: `${what}: ${status} at ${where ?? "nowhere"}` });
      }
      const { documents } = await place.type("runs", "proof", id, "--tenant-id", TENANT);
      const { integrity } = (documents[0] ?? {}) as unknown as Proof;
      return all(
        ...findings,
        same({ undamaged: integrity.verification_status }, { undamaged: "VERIFIED" }),
      );
    },
  },
];

interface Proof {
  readonly integrity: {
    readonly model: string;
    readonly verification_status: string;
    readonly chain_length: number;
    readonly root_hash: string | null;
    readonly place: string | null;
  };
  readonly traces: readonly unknown[];
  readonly steps: readonly unknown[];
}

const PROVED = { exit: 0, model: "HASH_CHAIN", verification_status: "VERIFIED" };

const WARNINGS: readonly Row[] = [
  {
    id: "8.1",
    criterion: "Enforcement is not bypassed: what policy denies is not done (step_enforcement…)",
    check: async ({ place }) => {
      const before = place.asked.length;
      const elsewhere = { ...call(place, "a", ""), with: { url: "http://127.0.0.1:9/" } };
      const denied = await place.run(goalOf(place, { plan: { steps: [elsewhere] } }));
      const steps = lateDenial(place);
      // Three such denials of a tenant are an incident, which the rows on both doors must not meet.
      const tenant = OTHER_TENANT;
      const late = await place.run(goalOf(place, { plan: { steps } }), { tenant });
      const { run } = late;
      const refused = run === null ? [] : eventsOf(place.entriesOf(run));
      return all(
        same([denied.ended.code, denied.run, denied.code], [3, null, "ERR_POLICY_DENIED"]),
        same([late.ended.code, late.status], [3, "failed"]),
        same(refused.includes("execution.denied"), true),
        same(place.asked.length - before, 1),
      );
    },
  },
  {
    id: "8.2",
    criterion: "Governance records are kept: each step has its decision (governance_records…)",
    check: async ({ place, run }) => {
      const entries = place.entriesOf(await run());
      const authorised = entries.find((one) => one.event_type === "execution.authorized");
      const { decision } = (authorised?.data ?? {}) as Partial<EntryData<"execution.authorized">>;
      const found = { effect: decision?.effect, rules: (decision?.rules ?? []).length > 0 };
      return all(
        same(found, { effect: "allow", rules: true }),
        same(eventsOf(entries).at(-1), "run.sealed"),
      );
    },
  },
  {
    id: "8.3",
    criterion: "An incident is recorded (incident_creation_failed)",
    check: async ({ place }) => {
      const steps = [call(place, "one", "zen"), call(place, "two", "zen", { needs: ["one"] })];
      const goal = goalOf(place, { plan: { steps } });
      const { run, status, code } = await place.run(goal, { more: ["--budget-steps", "1"] });
      const kinds = await incidentsOf(place, String(run));
      return same([status, code, kinds], ["halted", "ERR_BUDGET_EXCEEDED", ["budget"]]);
    },
  },
  {
    id: "8.4",
    criterion: "A model's call is recorded, with its tokens and its cost (llm_run_record…)",
    check: async ({ place }) => {
      const { run, status, code } = await place.run(goalOf(place, { plan: { steps: [ask] } }));
      if (run === null) return same({ status, code }, { status: "completed", code: null });
      const entries = place.entriesOf(run);
      const called = entries.find((one) => one.event_type === "llm.called");
      const { usage, cost_microusd } = (called?.data ?? {}) as Partial<EntryData<"llm.called">>;
      const [step] = await place.rows(
        "select cost_microusd::int as cost from sovereign.trace_steps where run_id = $1",
        run,
      );
      // 100 tokens in at 3 dollars a million, 20 out at 15.
      return all(
        same([status, usage?.input, usage?.output], ["completed", 100, 20]),
        same([cost_microusd, step?.["cost"]], [600, 600]),
      );
    },
  },
  {
    id: "8.5",
    criterion: "The trace of a run that fails has ended, too (trace_complete…, trace_abort_failed)",
    check: async ({ place }) => {
      const trigger: Step = { id: "no", skill: "__sdsr_fail_trigger__" };
      const { run, code } = await place.run(goalOf(place, { plan: { steps: [trigger] } }));
      const heads = await place.rows(
        "select status, completed_at is not null as ended from sovereign.traces where run_id = $1",
        run,
      );
      const open = await place.rows(
        "select run_id from sovereign.traces where status = 'running' and log_id = $1",
        TENANT,
      );
      return all(
        same([code, heads], ["ERR_SKILL_FAILED", [{ status: "failed", ended: true }]]),
        same({ running: open.length }, { running: 0 }),
      );
    },
  },
  {
    id: "8.6",
    criterion:
      "The evidence is captured, and an offline verifier finds it VALID (integrity_evidence…)",
    check: async ({ place, run }) => {
      const { code, verdict } = await place.verify(await run());
      return same([code, verdict], [0, "VALID"]);
    },
  },
];

async function incidentsOf(place: Place, run: string): Promise<string[]> {
  const rows = await place.rows("select kind from sovereign.incidents where run_id = $1", run);
  return rows.map(({ kind }) => String(kind));
}

/** The last: what it does to a ledger stays. */
const GUARD: readonly Row[] = [
  {
    id: "9.1",
    criterion: "A step that lost its authorisation halts the run (enforcement guard)",
    check: async ({ place }) => {
      const steps = [
        call(place, "unguarded", "zen"),
        call(place, "next", "next", { needs: ["unguarded"] }),
      ];
      place.meanwhile.set("GET /next", async () => {
        await place.rows("set session_replication_role = replica");
        await place.rows(
          "delete from sovereign.entries where convert_from(bytes, 'UTF8')::json ->> 'event_type' = 'execution.authorized' and convert_from(bytes, 'UTF8')::json -> 'data' -> 'context' ->> 'step_id' = 'unguarded'",
        );
        await place.rows("set session_replication_role = origin");
      });
      const tenant = OTHER_TENANT;
      const { status, run, code } = await place.run(goalOf(place, { plan: { steps } }), { tenant });
      const kinds = await incidentsOf(place, String(run));
      return all(
        same([status, code], ["halted", "ERR_ENFORCEMENT_MISSING"]),
        same(kinds.includes("enforcement"), true),
      );
    },
  },
];

export const ROWS: readonly Row[] = [
  ...PRECONDITIONS,
  ...STATIC,
  ...CRITERIA,
  ...WARNINGS,
  ...DOORS,
  ...GUARD,
];
