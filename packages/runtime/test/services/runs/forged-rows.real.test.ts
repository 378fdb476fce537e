import { existsSync } from "node:fs";
import { parseStrictJson } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CommitItem, createEntry, EMPTY_STREAM } from "../../../src/ledger/index.ts";
import { evidenceServices } from "../../../src/services/evidence-services.ts";
import { publishedAt, publishSealed } from "../../../src/services/runs/seal-run.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";
import { newStream } from "../../support/entries.ts";

/** What a program with a tenant's claim can write into that tenant's rows, and what comes of it. */
let rig: GoalRig;
let real: string;
beforeAll(async () => {
  rig = await openGoalRig();
  real = (await rig.runGoal(null)).runId;
});
afterAll(() => rig.close());

/** A run's entries as another run's: each is of its form, and they follow one another. */
async function entriesAs(tenantId: string, runId: string, count?: number): Promise<CommitItem> {
  let head = EMPTY_STREAM;
  const entries: { bytes: Uint8Array; hash: string }[] = [];
  for await (const { bytes } of rig.installation.store.readStream("acme", real)) {
    const { timestamp, event_type, severity, data } = parseStrictJson(bytes) as never;
    const fields = { stream: runId, tenantId, runId, timestamp, severity, data };
    const made = createEntry(head, { ...fields, eventType: event_type });
    head = made.head;
    entries.push({ bytes: made.bytes, hash: made.hash });
  }
  const kept = entries.slice(0, count ?? entries.length);
  return { log: tenantId, stream: runId, expectedHead: EMPTY_STREAM, entries: kept };
}

describe("a row that says that a run was sealed", () => {
  it.each([
    ["none of whose entries says so", 2],
    ["whose seal nobody signed for it", undefined],
  ])("publishes nothing of a run %s", async (_, count) => {
    const { store } = rig.installation;
    const { plan, planDigest } = (await store.findRun("acme", real))!;
    const runId = newStream();
    const item = await entriesAs("acme", runId, count);
    const sealed = { count: item.entries.length, hash: item.entries.at(-1)!.hash };
    const about = { tenantId: "acme", name: "n", mode: "sovereign", status: "completed" } as const;
    const run = { ...about, runId, plan, planDigest, reason: null, sealed };
    expect(await store.commit({ ...item, run })).toMatchObject({ status: "committed" });
    const row = (await store.findRun("acme", runId))!;
    const place = { installation: rig.installation, tenantId: "acme" };
    await expect(publishSealed(place, row)).rejects.toMatchObject({ code: "ERR_RUN_DIVERGED" });
    expect(existsSync(publishedAt(rig.installation, runId).bundle)).toBe(false);
  });
});

describe("a run's folder", () => {
  it("is of no use to another tenant, by a row or by entries with the run's name", async () => {
    const { store } = rig.installation;
    const item = await entriesAs("other", real);
    const { plan, planDigest, sealed } = (await store.findRun("acme", real))!;
    const about = { tenantId: "other", name: "n", mode: "sovereign", status: "completed" } as const;
    const run = { ...about, runId: real, plan, planDigest, reason: null, sealed };
    expect(await store.commit({ ...item, run })).toMatchObject({ reason: "invalid" });
    expect(await store.findRun("other", real)).toBeNull();
    expect(await store.commit(item)).toMatchObject({ status: "committed" });
    const { exportBundle } = evidenceServices((work) => work(rig.installation));
    await expect(exportBundle("other", real, true)).rejects.toMatchObject({
      code: "ERR_RUN_NOT_FOUND",
    });
    expect((await exportBundle("acme", real, true)).length).toBeGreaterThan(0);
  });
});
