import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Incident, incidentIdOf } from "@sovereign/core";
import { answerJson, type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
beforeAll(async () => {
  rig = await openGoalRig();
});
afterAll(() => rig.close());

const post = (path: string): object => ({
  id: "send",
  skill: "http_call",
  with: { url: `http://${rig.host}/${path}`, method: "POST" },
});

/** A step whose server hangs up in the middle: nobody knows whether it happened. */
async function lost(path: string, tenantId = "acme"): Promise<string> {
  rig.answer = (_, response) => {
    response.socket?.destroy();
  };
  const { runId, code } = await rig.runGoal(rig.planFile([post(path)]), { tenantId });
  expect(code).toBe("ERR_OUTCOME_UNKNOWN");
  rig.answer = answerJson;
  return runId;
}

const listed = (state: "unresolved" | "resolved" | null = null): Promise<readonly Incident[]> =>
  rig.services.listIncidents("acme", { limit: 50, state, kind: null });

describe("an incident", () => {
  it("stands in a row of the commit that raised it, with the entries that show it", async () => {
    const runId = await lost("one");
    const [found] = await listed("unresolved");
    expect(found).toMatchObject({
      incident_id: incidentIdOf("acme", "unknown_outcome", `${runId} send`),
      kind: "unknown_outcome",
      state: "open",
      severity: "WARNING",
      code: "ERR_OUTCOME_UNKNOWN",
      run_id: runId,
      step_id: "send",
      occurrences: 1,
    });
    const shown = await rig.services.showIncident("acme", found?.incident_id ?? "");
    expect(shown.entries).toMatchObject([{ stream: runId, event: "incident.raised" }]);
  });

  it("is of its tenant alone", async () => {
    const { incidents } = { incidents: rig.installation.store.incidents("globex") };
    expect(await incidents.list({ limit: 50, state: null, kind: null })).toEqual([]);
    const [found] = await listed();
    const id = found?.incident_id ?? "";
    expect(await incidents.find(id)).toBeNull();
    await expect(rig.services.resolveIncident("globex", id, "eve", "mine")).rejects.toMatchObject({
      code: "ERR_INCIDENT_NOT_FOUND",
    });
  });

  it("that is raised again is one; acknowledged and resolved with who and why", async () => {
    const runId = await lost("two");
    const id = incidentIdOf("acme", "unknown_outcome", `${runId} send`);
    const again = { tenantId: "acme", approvers: [], onProgress: () => undefined };
    const { signal } = new AbortController();
    await rig.services.resume(runId, { ...again, signal });
    await rig.services.acknowledgeIncident("acme", id, "alice");
    const twice = await rig.services.acknowledgeIncident("acme", id, "bob");
    expect(twice).toMatchObject({
      occurrences: 2,
      state: "acknowledged",
      acknowledged_by: "alice",
    });
    const done = await rig.services.resolveIncident("acme", id, "bob", "it was sent once");
    expect(done).toMatchObject({ state: "resolved", resolved_by: "bob", note: "it was sent once" });
    await expect(rig.services.resolveIncident("acme", id, "bob", "again")).rejects.toMatchObject({
      code: "ERR_INCIDENT_RESOLVED",
    });
    await rig.services.resume(runId, { ...again, signal });
    const open = await rig.services.showIncident("acme", id);
    expect(open).toMatchObject({ state: "open", occurrences: 3, resolved_by: null, note: null });
    expect(open.entries.map(({ event }) => event)).toEqual([
      "incident.raised",
      "incident.raised",
      "incident.acknowledged",
      "incident.resolved",
      "incident.raised",
    ]);
  });

  it.each([
    ["no name", "", "why"],
    ["a name that breaks lines", "a\nb", "why"],
    ["no reason", "alice", " "],
    ["a reason with a NUL", "alice", "a\0b"],
    ["a reason that is too long", "alice", "x".repeat(2001)],
  ])("is not resolved with %s", async (_, by, note) => {
    const [found] = await listed("unresolved");
    const id = found?.incident_id ?? "";
    await expect(rig.services.resolveIncident("acme", id, by, note)).rejects.toMatchObject({
      code: "ERR_REQUEST_INVALID",
    });
  });

  it("of repeated denials is raised by the third within an hour", async () => {
    const denied = [
      { id: "ask", skill: "http_call", with: { url: `http://${rig.host}/x` } },
      {
        id: "next",
        skill: "http_call",
        with: { url: "https://${{ steps.ask.output.json.url }}.example.org/" },
      },
    ];
    rig.answer = (_, response) => {
      response.setHeader("content-type", "application/json").end('{"url":"evil"}');
    };
    for (let at = 0; at < 3; at++) {
      const { code } = await rig.runGoal(rig.planFile(denied), { tenantId: "denied" });
      expect(code).toBe("ERR_POLICY_DENIED");
      const wanted = { limit: 9, state: null, kind: "repeated_denial" };
      const found = await rig.services.listIncidents("denied", wanted);
      expect(found).toHaveLength(at < 2 ? 0 : 1);
    }
    rig.answer = answerJson;
  });
});

describe("the rows of incidents", () => {
  it("can be made again from the ledger", async () => {
    const before = await listed();
    expect(before.length).toBeGreaterThan(1);
    expect(await rig.services.rebuildIncidents("acme")).toMatchObject({ mended: [] });
    await rig.owner.query(
      "update sovereign.incidents set state = 'resolved', occurrences = 9 where log_id = 'acme' and incident_id = $1",
      [before[0]?.incident_id],
    );
    await rig.owner.query("delete from sovereign.incident_entries where log_id = 'acme'");
    const { mended } = await rig.services.rebuildIncidents("acme");
    expect(mended).toEqual([before[0]?.incident_id]);
    expect(await listed()).toEqual(before);
  });

  it("are named where they were invented, when they are taken away", async () => {
    const before = await listed();
    const id = `inc_${"0".repeat(20)}`;
    const made = before[0]?.incident_id;
    await rig.owner.query(
      "insert into sovereign.incidents select (jsonb_populate_record(i, jsonb_build_object('incident_id', $1::text))).* from sovereign.incidents i where log_id = 'acme' and incident_id = $2",
      [id, made],
    );
    expect(await listed()).toHaveLength(before.length + 1);
    const report = await rig.services.rebuildIncidents("acme");
    expect(report).toMatchObject({ mended: [], removed: [id] });
    expect(await listed()).toEqual(before);
  });

  it.each([
    ["a changed state", "update sovereign.incidents set state = 'resolved' where run_id = $1"],
    ["a lower severity", "update sovereign.incidents set severity = 'INFO' where run_id = $1"],
    ["a dropped row", "delete from sovereign.incidents where run_id = $1"],
    ["a dropped place", "delete from sovereign.incident_entries where stream = $1"],
    [
      "an added place",
      "insert into sovereign.incident_entries select log_id, stream, 0, incident_id from sovereign.incident_entries where stream = $1 limit 1",
    ],
  ])("fail the run's proof after %s, and that is an incident", async (_, sql) => {
    const runId = await lost("three", "proved");
    const of = (): Promise<readonly Incident[]> =>
      rig.services.listIncidents("proved", { limit: 50, state: null, kind: "integrity" });
    expect((await rig.services.proveRun("proved", runId)).integrity).toMatchObject({
      verification_status: "UNSUPPORTED",
    });
    const before = (await of()).length;
    await rig.owner.query(sql, [runId]);
    const { integrity } = await rig.services.proveRun("proved", runId);
    expect(integrity).toMatchObject({ verification_status: "FAILED" });
    expect(integrity.place).toMatch(/^incident/);
    await rig.services.proveRun("proved", runId);
    const found = await of();
    expect(found).toHaveLength(before + 1);
    expect(found[0]).toMatchObject({ run_id: runId, severity: "CRITICAL", occurrences: 1 });
    await rig.services.rebuildIncidents("proved");
    expect((await rig.services.proveRun("proved", runId)).integrity.place).toBeNull();
  });

  it("cannot be written by whoever has a tenant's connection", async () => {
    for (const table of ["incidents", "incident_entries"]) {
      const found = await rig.owner.query<{ can: boolean }>(
        "select bool_or(has_table_privilege('sovereign_app', $1, p)) as can from unnest(array['insert', 'update', 'delete', 'truncate']) p",
        [`sovereign.${table}`],
      );
      expect(found.rows).toEqual([{ can: false }]);
    }
  });
});
