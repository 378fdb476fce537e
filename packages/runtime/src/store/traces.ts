import type pg from "pg";
import type { StoredTrace, StoredTraceStep } from "../runs/index.ts";

/** Of a run, and of another run where its rows stand in this run's trace: both are to be seen. */
const OF_RUN = "run_id = $1 or trace_id = $2";

/** The rows of a run's trace, as they stand. Nothing of them is believed. */
export async function readTrace(
  client: pg.ClientBase,
  runId: string,
  traceId: string,
): Promise<StoredTrace> {
  const values = [runId, traceId];
  const heads = await client.query<HeadRecord>(
    `select ${HEAD} from sovereign.traces where ${OF_RUN} order by trace_id limit 16`,
    values,
  );
  const steps = await client.query<StepRecord>(
    `select ${STEP} from sovereign.trace_steps where ${OF_RUN} order by index, trace_id limit 20000`,
    values,
  );
  return {
    heads: heads.rows.map(({ log_id, step_count, ...head }) => ({
      ...head,
      tenant_id: log_id,
      step_count: Number(step_count),
    })),
    steps: steps.rows.map(stepOf),
  };
}

const HEAD =
  "log_id, trace_id, run_id, plan_digest, status, started_at, completed_at, step_count, root_hash";
const STEP =
  "log_id, trace_id, run_id, index, step_id, attempt, skill, skill_version, resource, action_digest, input, input_digest, output, output_digest, artifacts, status, category, code, reason, cost_microusd, duration_ms, idempotency_key, started_at, ended_at, begun_by, ended_by";

type HeadRecord = Omit<StoredTrace["heads"][number], "tenant_id" | "step_count"> & {
  readonly log_id: string;
  readonly step_count: string;
};

/** What PostgreSQL gives as text, because it may not fit into a number. */
type Numbers = "index" | "attempt" | "cost_microusd";
type Maybe = "duration_ms" | "begun_by" | "ended_by";

type StepRecord = Omit<StoredTraceStep, "tenant_id" | Numbers | Maybe> & {
  readonly log_id: string;
} & Record<Numbers, string> &
  Record<Maybe, string | null>;

function stepOf({ log_id, ...row }: StepRecord): StoredTraceStep {
  const maybe = (value: string | null): number | null => (value === null ? null : Number(value));
  return {
    ...row,
    tenant_id: log_id,
    index: Number(row.index),
    attempt: Number(row.attempt),
    cost_microusd: Number(row.cost_microusd),
    duration_ms: maybe(row.duration_ms),
    begun_by: maybe(row.begun_by),
    ended_by: maybe(row.ended_by),
  };
}
