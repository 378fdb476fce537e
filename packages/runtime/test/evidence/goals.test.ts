import {
  base64Decode,
  type JsonObject,
  type LedgerEntry,
  parseEnvelope,
  parseStatement,
  RunTrace,
  type TraceHead,
  traceSealOf,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { readRun } from "../../src/ledger/index.ts";
import type { RunSession } from "../../src/runs/index.ts";
import { awayFor } from "../support/away.ts";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { buildRun } from "../support/run-builder.ts";
import { TRAIN, World } from "../support/world.ts";

const PLAN: JsonObject = { kind: "goal", steps: [{ id: "extra", skill: "model.train" }] };

/** For a moment there is no database: the step ran, and its end cannot be recorded. */
async function loseTheEnd(session: RunSession, store: MemoryStore): Promise<void> {
  awayFor(store, "execution.completed");
  const asked = session.perform({ stepId: "extra", role: "trainer", action: TRAIN });
  await expect(asked).rejects.toThrow("UNAVAILABLE");
}

describe("a goal that an earlier version began", () => {
  it("has the steps that were kept of it, and ends as it is asked to", async () => {
    const world = await World.create();
    const store = new MemoryStore({ keysElsewhere: true });
    const plan = { plan: PLAN };
    const { session } = await buildRun(world, { store, plan, trace: new RunTrace(true) });
    await session.admit();
    await loseTheEnd(session, store);
    await session.suspend("later");
    const kept = await store.readTrace("acme", RUN);
    expect(kept.steps.map(({ status }) => status)).toEqual(["completed", "refused"]);
    const next = (await buildRun(world, { store, plan, epoch: 2 })).session;
    await next.resume("pending", false);
    expect(await next.seal("failed", "it was cancelled")).toMatchObject({ status: "failed" });
    const seal = traceSealOf(kept.heads[0] as TraceHead, [
      ...RunTrace.of(await entriesOf(store), (trace) => trace.steps.length === 2).steps,
    ]);
    const last = (await entriesOf(store)).at(-1)?.data["envelopes"] as { run_proof: string };
    const [bytes] = (await store.readEnvelopes("acme", [last.run_proof])).values();
    const payload = base64Decode(parseEnvelope(bytes ?? new Uint8Array()).payload);
    expect(parseStatement(payload, "run-proof").predicate.trace).toEqual(seal);
    world.dispose();
  });
});

async function entriesOf(store: MemoryStore): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  for await (const { entry } of readRun(store, "acme", RUN)) entries.push(entry);
  return entries;
}

describe("goals in evidence", () => {
  it("are VALID where the end of a step could not be recorded for a moment", async () => {
    const made = await EvidenceWorld.create(
      "sovereign",
      RUN,
      0,
      async (session, world, store) => {
        const usage = { wall_ms: 1, output_bytes: 1 };
        world.result = { status: "completed", output: { value: 1 }, artifacts: [], usage };
        await loseTheEnd(session, store);
        await session.suspend("later");
        await session.resume("pending", false);
      },
      { plan: PLAN },
    );
    const bundle = await made.bundle();
    const events = bundle.entries
      .filter(({ entry }) => entry.data["step_id"] === "extra")
      .map(({ entry }) => entry.event_type);
    // The end is recorded as soon as it can be, and that it could not be after it.
    expect(events).toEqual(["execution.completed", "execution.unavailable"]);
    const ofStep = bundle.goal?.steps.filter(({ step_id }) => step_id === "extra");
    expect(ofStep?.map(({ status }) => status)).toEqual(["completed"]);
    expect(judge(bundle, made.trustRoot())).toMatchObject({ verdict: "VALID", failures: {} });
    made.dispose();
  });
});
