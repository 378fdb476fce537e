import { writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { openInstallation } from "../packages/runtime/src/installation/index.ts";
import { proveRun } from "../packages/runtime/src/services/runs/run-proof.ts";
import type { Installation } from "../test/e2e/cli.ts";

export interface Submitted {
  readonly tenant: string;
  readonly run: string;
}

/** The step of each run that must not happen twice. */
export const UNSAFE = "c";

export interface Judged {
  readonly runs: number;
  readonly completed: number;
  readonly steps: number;
  readonly entries: number;
  /** Attempts that were begun and whose end nobody recorded. */
  readonly unknownSteps: number;
  /** Of them and of those that were interrupted, those that must not happen twice: a person was asked. */
  readonly askedSteps: number;
  readonly incidents: Readonly<Record<string, number>>;
  readonly logs: number;
  readonly proved: number;
  /** What does not agree; empty where all does. */
  readonly wrong: readonly string[];
}

/** Looks at a database as its superuser: it knows every row, and none of our code is between. */
export class SuperuserLook {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** A server that was killed is asked again until it answers. */
  async query<T extends pg.QueryResultRow>(sql: string): Promise<T[]> {
    for (let attempt = 0; ; attempt++) {
      const client = new pg.Client({ connectionString: this.#url, connectionTimeoutMillis: 5000 });
      client.on("error", () => undefined);
      try {
        await client.connect();
        return (await client.query<T>(sql)).rows;
      } catch (error) {
        if (attempt === 120) throw error;
        await sleep(500);
      } finally {
        // A connection that the killed server has closed already ends no look.
        await client.end().catch(() => undefined);
      }
    }
  }
}

export interface JudgeOptions {
  readonly look: SuperuserLook;
  readonly installation: Installation;
  readonly env: Record<string, string>;
  readonly submitted: readonly Submitted[];
}

/** Whether all that was submitted ended right, and nothing else happened. */
export async function judge(options: JudgeOptions): Promise<Judged> {
  const { look, submitted } = options;
  const wrong: string[] = [];
  const [counts] = await look.query<Counts>(COUNTS);
  if (counts === undefined) throw new Error("nothing was counted");
  const known = await look.query<{ run_id: string; status: string; reason: string | null }>(
    "select run_id, status, reason from sovereign.runs where kind = 'goal'",
  );
  const rows = new Map(known.map((row) => [row.run_id, row]));
  if (known.length !== submitted.length) wrong.push(`${known.length} runs are there`);
  for (const { run } of submitted) {
    const { status = "gone", reason = null } = rows.get(run) ?? {};
    if (status !== "completed") wrong.push(`${run} is ${status}: ${reason ?? "for no reason"}`);
  }
  for (const sql of [TWICE, UNTOLD, OVERTOLD, LEFT])
    for (const { what } of await look.query<{ what: string }>(sql)) wrong.push(what);
  const kinds = await look.query<{ kind: string; count: number }>(
    "select kind, count(*)::int as count from sovereign.incidents group by kind order by kind",
  );
  const incidents = Object.fromEntries(kinds.map(({ kind, count }) => [kind, count]));
  const tenants = [...new Set(submitted.map(({ tenant }) => tenant))];
  await untilReachable(options);
  for (const tenant of tenants) await verifyLog(options, tenant, wrong);
  const proved = await proveAll(options, wrong);
  const about = { runs: submitted.length, logs: tenants.length, incidents, proved, wrong };
  return { ...counts, ...about };
}

/** A pooler refuses for some seconds more, after a server that was away is there again. */
async function untilReachable({ env }: JudgeOptions): Promise<void> {
  for (let tries = 60; ; tries--) {
    const client = new pg.Client({ connectionString: env["DATABASE_URL"] ?? "" });
    try {
      await client.connect();
      return;
    } catch (error) {
      if (tries === 0) throw error;
      await sleep(500);
    } finally {
      await client.end();
    }
  }
}

/** Export a tenant's whole log, and have the offline verifier hold it against its last signed head. */
async function verifyLog(
  { look, installation, env }: JudgeOptions,
  tenant: string,
  wrong: string[],
): Promise<void> {
  const path = (name: string): string => join(installation.home, `${tenant}-${name}`);
  const [head] = await look.query<{ note: string }>(
    `select note from sovereign.checkpoints where log_id = '${tenant}' order by size desc limit 1`,
  );
  writeFileSync(path("checkpoint"), head?.note ?? "");
  const [log, checkpoint, trust] = [path("audit.jsonl"), path("checkpoint"), path("trust.json")];
  for (const words of [
    ["audit", "export", "--log", tenant, "--out", log],
    ["keys", "export-trust", "--out", trust],
    ["verify-audit", log, "--checkpoint", checkpoint, "--trust", trust],
  ]) {
    const { code, out, err } = await installation.run(words, env);
    if (code !== 0) wrong.push(`${words.join(" ")}: exit ${String(code)}: ${out}${err}`);
  }
}

async function proveAll(
  { installation: { home }, env, submitted }: JudgeOptions,
  wrong: string[],
): Promise<number> {
  const databaseUrl = env["DATABASE_URL"] ?? null;
  const installation = await openInstallation({ home, databaseUrl, passphrase: null });
  let proved = 0;
  try {
    for (const { tenant, run } of submitted) {
      const { integrity } = await proveRun(installation, tenant, run);
      if (integrity.verification_status === "VERIFIED") proved += 1;
      else wrong.push(`${run} of ${tenant}: ${JSON.stringify(integrity)}`);
    }
  } finally {
    await installation.close();
  }
  return proved;
}

type Counts = Pick<Judged, "completed" | "steps" | "entries" | "unknownSteps" | "askedSteps">;

const COMPLETED = "kind = 'goal' and status = 'completed'";
/** Attempts of which nobody can say that they did not happen, of steps that must not happen twice. */
const DOUBTFUL = `select log_id, run_id, step_id from sovereign.trace_steps
  where step_id = '${UNSAFE}'
    and (status in ('unknown', 'killed') or code = 'ERR_OUTCOME_UNKNOWN')`;
const COUNTS = `select
  (select count(*)::int from sovereign.runs where ${COMPLETED}) as completed,
  (select count(*)::int from sovereign.trace_steps where status = 'completed') as steps,
  (select count(*)::int from sovereign.entries) as entries,
  (select count(*)::int from sovereign.trace_steps where status = 'unknown') as "unknownSteps",
  (select count(*)::int from (${DOUBTFUL}) d) as "askedSteps"`;
const ASKED = "kind = 'unknown_outcome' and subject = d.run_id || ' ' || d.step_id";
/** A step that may have happened, and of which no incident tells a person. */
const UNTOLD = `select d.run_id || ': nobody is told of ' || d.step_id as what from (${DOUBTFUL}) d
  where not exists (select from sovereign.incidents i where i.log_id = d.log_id and ${ASKED})`;
/** An incident of a step that did not come to be in doubt. */
const OVERTOLD = `select subject || ' is not in doubt' as what from sovereign.incidents i
  where kind = 'unknown_outcome' and not exists (
    select from (${DOUBTFUL}) d where i.log_id = d.log_id and ${ASKED})`;
const LEFT = "select run_id || ' is in the queue' as what from sovereign.queue";

const ENTRIES = `(select e.log_id, e.stream, convert_from(e.bytes, 'UTF8')::jsonb as entry
  from sovereign.entries e where e.log_id like 'tenant-%')`;
/** A step that is recorded as done twice, or an attempt that was authorised twice. */
const TWICE = `select stream || ' has ' || n || ' of ' || event || ' for ' || step as what from (
  select e.stream, e.entry ->> 'event_type' as event,
    coalesce(e.entry #>> '{data,context,step_id}', e.entry #>> '{data,step_id}', '')
      || case e.entry ->> 'event_type' when 'execution.authorized'
        then ' ' || (e.entry #>> '{data,context,attempt}') else '' end as step,
    count(*) as n
  from ${ENTRIES} e
  where e.entry ->> 'event_type' in ('execution.completed', 'execution.authorized', 'run.sealed')
  group by 1, 2, 3 having count(*) > 1) t`;
