import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { proveRun } from "../../../src/services/runs/run-proof.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

const TABLES = [
  ...["runs", "steps", "nonces", "budget_use", "contents", "content_pieces", "entries"],
  ...["incidents", "incident_entries", "queue"],
];
const LARGE = JSON.stringify({ text: "x".repeat(40_000) });
let rig: GoalRig;
let runId: string;
let artifact = "";

beforeAll(async () => {
  rig = await openGoalRig();
  rig.answer = (_, response) => response.setHeader("content-type", "application/json").end(LARGE);
  ({ runId } = await rig.runGoal(null));
  const { store } = rig.installation;
  for await (const { bytes } of store.readStream("acme", runId)) {
    const found = /"sha256":"([0-9a-f]{64})"/.exec(Buffer.from(bytes).toString())?.[1];
    if (found !== undefined) artifact = found;
  }
  await rig.owner.query("set session_replication_role = replica");
});
afterAll(() => rig.close());

/** Do something to the tables, prove the run, and undo it. */
async function provenAfter(sql: string): Promise<{ status: string; place: string | null }> {
  for (const table of TABLES) {
    await rig.owner.query(`create table public.kept_${table} as select * from sovereign.${table}`);
  }
  const statements = sql.replaceAll("$run", `'${runId}'`).replaceAll("$artifact", `'${artifact}'`);
  const { integrity } = await rig.owner
    .query(statements)
    .then(() => proveRun(rig.installation, "acme", runId))
    .finally(async () => {
      for (const table of TABLES) await restore(table);
    });
  return { status: integrity.verification_status, place: integrity.place };
}

async function restore(table: string): Promise<void> {
  const columns = await rig.owner.query<{ name: string }>(
    "select attname as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and attgenerated = ''",
    [`sovereign.${table}`],
  );
  const names = columns.rows.map(({ name }) => `"${name}"`).join(", ");
  await rig.owner.query(
    `delete from sovereign.${table};
     insert into sovereign.${table} (${names}) select ${names} from public.kept_${table};
     drop table public.kept_${table}`,
  );
}

describe("a run's proof fails, with the place, after", () => {
  it.each([
    ["a nonce that may be used again", "delete from sovereign.nonces", /^nonces\[/],
    [
      "a nonce with another time",
      "update sovereign.nonces set expires_at = '2000-01-01T00:00:00.000Z'",
      /^nonces\[.*expires_at$/,
    ],
    [
      "use of its budget that is forgotten",
      "update sovereign.budget_use set used_steps = 0, used_ms = 0 where scope = 'run' and subject = $run",
      /^budget_use\[run\]\.used_/,
    ],
    [
      "a budget's row that is gone",
      "delete from sovereign.budget_use where scope = 'run' and subject = $run",
      /^budget_use\[run\]\.used_/,
    ],
    [
      "other bytes under the name of its artifact",
      "insert into sovereign.contents values ('acme', $artifact, 1); insert into sovereign.content_pieces values ('acme', $artifact, 0, 'other')",
      /^contents\[/,
    ],
    [
      "a piece of its artifact that is gone",
      "insert into sovereign.contents values ('acme', $artifact, 2); insert into sovereign.content_pieces values ('acme', $artifact, 0, 'x')",
      /^contents\[/,
    ],
    [
      "an incident about it that nobody raised",
      "insert into sovereign.incidents (log_id, incident_id, kind, subject, severity, state, summary, run_id, occurrences, raised_at, last_at) values ('acme', 'inc_' || repeat('a', 20), 'kill', 'x', 'INFO', 'open', 's', $run, 1, 't', 't')",
      /^incidents\[inc_a{20}\]/,
    ],
  ])("%s", async (_, sql, place) => {
    const proven = await provenAfter(sql);
    expect(proven).toMatchObject({ status: "FAILED" });
    expect(proven.place).toMatch(place);
  });
});

describe("what is no evidence changes no proof:", () => {
  it.each([
    ["nothing", "select 1"],
    ["how often it was taken over", "update sovereign.runs set fence_epoch = 99"],
    ["when rows were written", "update sovereign.runs set created_at = now(), updated_at = now()"],
    [
      "when steps were written",
      "update sovereign.steps set updated_at = now() - interval '1 year'",
    ],
    [
      "who was to carry it out",
      "insert into sovereign.queue (log_id, run_id, node, stays, priority) values ('acme', $run, 'n', 's', 0)",
    ],
    ["contents that are elsewhere", "delete from sovereign.contents"],
    [
      "copies of its entries in a log that is not its tenant's",
      "insert into sovereign.entries select 'other', index, stream, sequence, hash, bytes, leaf from sovereign.entries where stream = $run",
    ],
  ])("%s", async (_, sql) => {
    expect(await provenAfter(sql)).toEqual({ status: "VERIFIED", place: null });
  });
});
