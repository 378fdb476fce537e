import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  digestOf,
  type JsonObject,
  RunTrace,
  type TracedEntry,
  type TraceHead,
  traceSealOf,
} from "../src/index.ts";

const RUN = `run_${"a".repeat(20)}`;
let sequence = 0;

function entry(event: string, data: JsonObject): TracedEntry {
  return {
    event_type: event,
    data,
    timestamp: `2026-01-01T00:00:00.${String(sequence).padStart(3, "0")}Z`,
    sequence: sequence++,
    tenant_id: "acme",
    stream: RUN,
  };
}

function authorized(step_id: string, attempt = 1): TracedEntry {
  const params = { version: "1.0.0", input: { url: step_id } };
  const action = { type: "skill.http_call", resource: "example.org", params };
  return entry("execution.authorized", {
    action,
    context: { step_id, attempt },
    action_digest: digestOf(action),
  });
}

function completed(step_id: string, attempt = 1): TracedEntry {
  const output = { value: { status: 200 }, cost_microusd: 12 };
  return entry("execution.completed", { step_id, attempt, artifacts: [], usage: {}, output });
}

const failed = (step_id: string, attempt = 1): TracedEntry =>
  entry("execution.failed", { step_id, attempt, code: "ERR_SKILL_FAILED", reason: "a\0b" });

function traceOf(work: () => readonly TracedEntry[]): RunTrace {
  sequence = 0;
  const first = entry("run.admitted", { plan_digest: "0".repeat(64) });
  return RunTrace.of([first, ...work()]);
}

describe("a trace", () => {
  it("has a step for each attempt, whole, in the order of their beginnings", () => {
    const { steps, head } = traceOf(() => [
      authorized("a"),
      authorized("b"),
      completed("b"),
      failed("a"),
      authorized("a", 2),
      completed("a", 2),
    ]);
    expect(steps.map(({ step_id, attempt, status }) => [step_id, attempt, status])).toEqual([
      ["a", 1, "failed"],
      ["b", 1, "completed"],
      ["a", 2, "completed"],
    ]);
    expect(steps[1]).toMatchObject({
      index: 1,
      skill: "http_call",
      skill_version: "1.0.0",
      resource: "example.org",
      cost_microusd: 12,
      duration_ms: 1,
      begun_by: 2,
      ended_by: 3,
    });
    expect(steps[0]).toMatchObject({ category: "failed", reason: "a\ufffdb", output: null });
    expect(steps[0]?.idempotency_key).toBe(steps[2]?.idempotency_key);
    expect(head).toMatchObject({ status: "running", step_count: 3, root_hash: null });
  });

  it("tells what nobody recorded the end of, and takes an end that comes later", () => {
    const lost = traceOf(() => [authorized("a"), entry("run.resumed", { from: "running" })]);
    expect(lost.steps).toMatchObject([{ status: "unknown", ended_at: null }]);
    lost.keep(lost.follow(completed("a")));
    expect(lost.steps).toMatchObject([{ status: "completed" }]);
    const unrecorded = { step_id: "a", attempt: 1, code: "c", reason: "r", effectRan: true };
    const gone = traceOf(() => [authorized("a"), entry("execution.unavailable", unrecorded)]);
    expect(gone.steps).toMatchObject([{ status: "unknown", code: "c" }]);
  });

  it("has no further step where an end was recorded before it was told that it could not be", () => {
    const place = { step_id: "a", attempt: 1, code: "c", reason: "r" };
    const late = (more: JsonObject) => entry("execution.unavailable", { ...place, ...more });
    for (const end of [completed, failed]) {
      const ended = traceOf(() => [authorized("a"), end("a"), authorized("b")]);
      const told = traceOf(() => [authorized("a"), end("a"), authorized("b")]);
      told.keep(told.follow(late({ effectRan: true })));
      expect([told.steps, told.head]).toEqual([ended.steps, ended.head]);
    }
    // What never ran is refused.
    const refused = traceOf(() => [authorized("b"), late({ effectRan: false })]);
    expect(refused.steps.map(({ status }) => status)).toEqual(["running", "refused"]);
    // Of two, the one that was not told yet.
    const two = traceOf(() => [authorized("a"), completed("a"), authorized("a", 2)]);
    two.keep(two.follow(late({ attempt: 2, effectRan: true })));
    expect(two.steps.map(({ status }) => status)).toEqual(["completed", "unknown"]);
  });

  it("is the one that an earlier version sealed of the same entries, and no other", () => {
    const place = { step_id: "a", attempt: 1, code: "c", reason: "r", effectRan: true };
    sequence = 0;
    const first = entry("run.admitted", { plan_digest: "0".repeat(64) });
    const entries = [first, authorized("a"), completed("a"), entry("execution.unavailable", place)];
    const now = RunTrace.of(entries);
    const before = RunTrace.of(entries, ({ steps }) => steps.length === 2);
    expect(now.steps.map(({ status }) => status)).toEqual(["completed"]);
    expect(before.steps.map(({ status }) => status)).toEqual(["completed", "refused"]);
    for (const one of [now, before]) {
      const found = RunTrace.of(entries, (trace) => trace.isSealedAs(one.seal()));
      expect(found.steps).toEqual(one.steps);
    }
    const other = { ...now.seal(), root_hash: "0".repeat(64) };
    const none = RunTrace.of(entries, (trace) => trace.isSealedAs(other));
    expect(none.steps).toEqual(now.steps);
  });

  it("reads no field that the event's form does not have", () => {
    const place = { step_id: "a", attempt: 1, code: "c", reason: "r" };
    const action = { type: "skill.kv_store", resource: "x", params: { version: "9.9.9" } };
    const stepsWith = (more: JsonObject) =>
      traceOf(() => [
        authorized("a"),
        entry("incident.raised", { kind: "k", summary: "s", ...place, ...more }),
        entry("other.noted", { ...place, ...more }),
        entry("execution.denied", { ...place, action: {} }),
        entry("execution.blocked", { ...place, step_id: "b", ...more }),
        entry("execution.pending", { ...place, step_id: "c", ...more }),
      ]).steps;
    expect(stepsWith({ effectRan: true, action })).toEqual(stepsWith({}));
    expect(stepsWith({})[0]).toMatchObject({ status: "running", skill: "http_call" });
  });

  it("is closed with its root when the run is sealed, and nothing of it runs then", () => {
    const trace = traceOf(() => [authorized("a"), entry("run.sealed", { status: "failed" })]);
    expect(trace.steps).toMatchObject([{ status: "unknown" }]);
    const { root_hash } = trace.seal();
    expect(trace.head).toMatchObject({ status: "failed", root_hash });
  });

  it("changes nothing before what it follows is kept", () => {
    const trace = traceOf(() => [authorized("a")]);
    const change = trace.follow(completed("a"));
    expect(trace.steps).toMatchObject([{ status: "running" }]);
    trace.keep(change);
    expect(trace.steps).toMatchObject([{ status: "completed" }]);
  });
});

describe("the chain of a trace", () => {
  const { steps, head } = traceOf(() => [
    authorized("a"),
    completed("a"),
    authorized("b"),
    failed("b"),
    entry("execution.denied", { step_id: "c", attempt: 1, code: "d", reason: "r", action: {} }),
    entry("step.skipped", { step_id: "d", skill: "http_call", reason: "r" }),
  ]);
  const known = head as TraceHead;
  const root = traceSealOf(known, steps).root_hash;

  it("is another with any field of any step changed", () => {
    const fields = Object.keys(steps[0] ?? {});
    fc.assert(
      fc.property(
        fc.nat(steps.length - 1),
        fc.constantFrom(...fields),
        fc.oneof(fc.string(), fc.integer(), fc.constant(null)),
        (at, field, value) => {
          const step = steps[at] as unknown as Record<string, unknown>;
          fc.pre(JSON.stringify(step[field]) !== JSON.stringify(value));
          const changed = steps.map((one, index) =>
            index === at ? { ...one, [field]: value } : one,
          );
          return traceSealOf(known, changed).root_hash !== root;
        },
      ),
      { numRuns: 300 },
    );
  });

  it("is another with a step dropped, added, moved, or of another run", () => {
    const roots = [
      traceSealOf(known, steps.slice(1)),
      traceSealOf(known, steps.slice(0, -1)),
      traceSealOf(known, [...steps, ...steps.slice(-1)]),
      traceSealOf(known, [...steps].reverse()),
      traceSealOf({ ...known, run_id: `run_${"b".repeat(20)}` }, steps),
      traceSealOf({ ...known, tenant_id: "globex" }, steps),
      traceSealOf({ ...known, plan_digest: "1".repeat(64) }, steps),
    ].map(({ root_hash }) => root_hash);
    expect(new Set([root, ...roots]).size).toBe(roots.length + 1);
  });
});
