import { canonicalBytes, parseCanonicalJson, sha256Hex } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoredEntry, StreamHead } from "../../src/ledger/index.ts";
import { type RunRow, readSteps, requireAdmitted, type RunSession } from "../../src/runs/index.ts";
import { EvidenceWorld, RUN } from "../support/evidence.ts";
import type { MemoryStore } from "../support/memory-store.ts";

type Row = Pick<RunRow, "runId" | "tenantId" | "kind" | "mode">;
type Wanted = Parameters<typeof requireAdmitted>[2];

const ROW: Row = { runId: RUN, tenantId: "acme", kind: "pipeline", mode: "sovereign" };
const DIVERGED = { code: "ERR_RUN_DIVERGED" };

let made: EvidenceWorld;
let before: StoredEntry[];
let head: StreamHead;
let wanted: Wanted;

/** The run as it stands before its seal, when a process was killed. */
beforeAll(async () => {
  const look = async (session: RunSession, _world: unknown, store: MemoryStore): Promise<void> => {
    before = [];
    for await (const one of store.readStream("acme", RUN)) before.push(one);
    head = await store.streamHead("acme", RUN);
    const { planDigest, configDigest } = session;
    wanted = { planDigest, configDigest, policyDigest: session.plan.policyDigest };
  };
  made = await EvidenceWorld.create("sovereign", RUN, 0, look);
});
afterAll(() => {
  made.world.dispose();
});

/** The ledger with other entries in the run's stream, as the database's owner can write them. */
function ledgerOf(entries: readonly StoredEntry[]): Parameters<typeof requireAdmitted>[0] {
  return {
    readStream: async function* () {
      await Promise.resolve();
      yield* entries;
    },
    readEnvelopes: (log, digests) => made.store.readEnvelopes(log, digests),
  };
}

type Change = (entry: Record<string, unknown>, data: Record<string, unknown>) => void;

/** The entry at `at` edited, and everything after it chained anew: no key is needed for that. */
function edited(at: number, change: Change): StoredEntry[] {
  let previous: string | null = null;
  return before.map((one, index) => {
    const entry = parseCanonicalJson(one.bytes) as Record<string, unknown>;
    if (previous !== null) entry["previous_hash"] = previous;
    if (index === at) change(entry, entry["data"] as Record<string, unknown>);
    const bytes = canonicalBytes(entry as never);
    const hash = sha256Hex(bytes);
    previous = index >= at ? hash : null;
    return { index: one.index, bytes, hash };
  });
}

const severe = (): StoredEntry[] => edited(3, (entry) => (entry["severity"] = "ERROR"));

/** The first entry of an event taken out, and all behind it numbered and chained anew. */
function withoutFirst(event: string): StoredEntry[] {
  let previous: string | undefined;
  const entries = before.map(({ bytes }) => parseCanonicalJson(bytes) as Record<string, unknown>);
  const at = entries.findIndex((entry) => entry["event_type"] === event);
  return entries.toSpliced(at, 1).map((entry, sequence) => {
    const bytes = canonicalBytes({
      ...entry,
      sequence,
      previous_hash: previous ?? entry["previous_hash"],
    } as never);
    previous = sha256Hex(bytes);
    return { index: sequence, bytes, hash: previous };
  });
}

const goOn = (entries = before, row: Partial<Row> = {}, asked: Partial<Wanted> = {}) =>
  requireAdmitted(
    ledgerOf(entries),
    { ...ROW, ...row },
    { ...wanted, ...asked },
    made.world.keyLog.current(),
  );

describe("a run that is gone on with", () => {
  it("is what it was admitted as: no other plan, policy, configuration, mode or kind", async () => {
    const other = "0".repeat(64);
    await goOn();
    for (const asked of [
      { planDigest: other },
      { policyDigest: other },
      { configDigest: other },
      { policyDigest: null, planDigest: other },
    ]) {
      await expect(goOn(before, {}, asked)).rejects.toMatchObject(DIVERGED);
    }
    await expect(goOn(before, { mode: "compatible" })).rejects.toMatchObject(DIVERGED);
    await expect(goOn(before, { kind: "batch" })).rejects.toMatchObject(DIVERGED);
  });

  it("is believed by its signed snapshot, whatever the ledger was rewritten to", async () => {
    const other = "0".repeat(64);
    const forged = edited(0, (_entry, data) => {
      data["plan_digest"] = other;
    });
    await expect(goOn(forged, {}, { planDigest: other })).rejects.toMatchObject(DIVERGED);
    const unsigned = edited(0, (_entry, data) => {
      data["envelopes"] = { config_snapshot: other };
    });
    await expect(goOn(unsigned)).rejects.toMatchObject(DIVERGED);
    await expect(goOn([])).rejects.toMatchObject(DIVERGED);
    await expect(goOn(before.slice(1))).rejects.toMatchObject(DIVERGED);
  });

  it("has the steps that its chain of entries has, and no row's", async () => {
    const steps = await readSteps(made.store, "acme", RUN).catch(() => null);
    // By now it is sealed, which no row can undo.
    expect(steps).toBeNull();
    const { steps: found, head: last } = await readSteps(ledgerOf(before), "acme", RUN);
    expect(last).toEqual(head);
    expect(found.map(({ stepId, status, attempt }) => ({ stepId, status, attempt }))).toEqual(
      ["train", "promote", "ballot.trainer", "ballot.deployer"].map((stepId) => ({
        stepId,
        status: "completed",
        attempt: 1,
      })),
    );
    for (const step of found) expect(made.store.steps.get(step.stepId)).toMatchObject(step);
  });

  const broken: [string, () => StoredEntry[]][] = [
    ["an entry is edited", () => before.with(3, severe()[3] as StoredEntry)],
    ["a step was done that nothing allowed", () => withoutFirst("execution.authorized")],
    ["an entry is left out", () => before.filter((_one, at) => at !== 2)],
    ["two are exchanged", () => [...before.slice(0, -2), ...before.slice(-2).reverse()]],
    [
      "one is of another run",
      () => edited(1, (entry) => (entry["stream"] = `run_${"z".repeat(20)}`)),
    ],
    ["bytes are not those of the hash", () => before.map((one) => ({ ...one, hash: head.hash }))],
  ];
  it.each(broken)("does not go on where %s", async (_name, entries) => {
    await expect(readSteps(ledgerOf(entries()), "acme", RUN)).rejects.toMatchObject(DIVERGED);
  });
});
