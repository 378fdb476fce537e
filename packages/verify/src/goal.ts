import {
  type ComplianceBundle,
  digestOf,
  type EntryData,
  isSovereignError,
  type JsonValue,
  type PlacedEntry,
  RunTrace,
  type TraceSeal,
  type TraceStep,
  traceSealOf,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

type Goal = NonNullable<ComplianceBundle["goal"]>;

/**
 * Part of step 5, for goals: plan, trace and steps are made again of the entries, and the chain over the
 * steps is the one that the signed proof names. Nothing that the section says is believed.
 *
 * @param kind what the signed snapshot says the run is; null where it says nothing
 */
export function verifyGoal(evidence: Evidence, kind: string | null, step: StepRecorder): void {
  const { goal, entries } = evidence.bundle;
  if (kind !== "goal" && goal === undefined) return;
  step.check("goal", () => {
    if (kind !== "goal") throw wrong("The run is no goal, and has the record of one.");
    if (goal === undefined) throw wrong("The run is a goal, and has no plan and steps.");
  });
  if (goal === undefined) return;
  const [first] = entries;
  step.check("goal.plan", () => {
    if (first === undefined) throw wrong("There are no entries.");
    const { plan_digest } = evidence.events.data(first, "run.admitted");
    expectEqual(digestOf(goal.plan), plan_digest, "The plan's digest");
  });
  // What is no entry of ours has been told by step 1.
  if (!evidence.events.sound) return;
  const seal = sealOf(evidence);
  const made = RunTrace.of(
    entries.map(({ entry }) => entry),
    (trace) => trace.isSealedAs(seal),
  );
  step.check("goal.trace", () => {
    const found = digestOf(goal.trace);
    expectEqual(found, made.head === null ? null : digestOf(made.head), "The trace's head");
  });
  verifySteps(goal, made.steps, step);
  step.check("goal.integrity", () => {
    verifyIntegrity(evidence, goal, made);
  });
  step.detail("steps", goal.steps.length);
}

/** What the run's proof names; undefined where there is none, or none that verifies. */
function sealOf(evidence: Evidence): TraceSeal | undefined {
  const last = evidence.bundle.entries.at(-1);
  if (last?.entry.event_type !== "run.sealed") return undefined;
  try {
    const { envelopes } = evidence.events.data(last, "run.sealed");
    return evidence.open(envelopes.run_proof, "run-proof", last).predicate.trace;
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return undefined;
  }
}

function verifySteps(goal: Goal, made: readonly TraceStep[], step: StepRecorder): void {
  for (const [at, found] of goal.steps.entries()) {
    step.check(`goal.steps[${at}]`, () => {
      const expected = made[at];
      if (expected === undefined) throw wrong("No entry speaks of this step.");
      expectEqual(found.step_id, expected.step_id, "The step");
      expectEqual(digestOf(found), digestOf(expected), `The step ${expected.step_id}`);
    });
  }
  step.check("goal.steps", () => {
    expectEqual(goal.steps.length, made.length, "The number of steps");
  });
}

function verifyIntegrity(evidence: Evidence, goal: Goal, made: RunTrace): void {
  const chain = traceSealOf(goal.trace, goal.steps);
  expectSeal(goal.integrity, chain);
  const last = evidence.bundle.entries.at(-1);
  if (last?.entry.event_type !== "run.sealed") return;
  const sealed = evidence.events.data(last, "run.sealed");
  const { predicate: proof } = evidence.open(sealed.envelopes.run_proof, "run-proof", last);
  if (proof.trace === undefined) throw wrong("The proof of a goal names no chain of steps.");
  expectSeal(chain, proof.trace);
  if (sealed.status === "completed") expectWhole(goal, made.steps, last);
}

function expectSeal(found: TraceSeal, expected: TraceSeal): void {
  expectEqual(found.trace_id, expected.trace_id, "The trace");
  expectEqual(found.chain_length, expected.chain_length, "The length of the chain of steps");
  expectEqual(found.root_hash, expected.root_hash, "The root of the chain of steps");
}

/** A run that completed did each step of its plan, or left it out as the plan said. */
function expectWhole({ plan }: Goal, steps: readonly TraceStep[], { entry }: PlacedEntry): void {
  const planned = plan["steps"];
  if (!Array.isArray(planned)) throw wrong("The plan has no steps.");
  const lasts = new Map<JsonValue, TraceStep>(steps.map((step) => [step.step_id, step]));
  for (const one of planned) {
    const id = fieldOf(one, "id");
    const last = lasts.get(id);
    const done = last?.status === "completed" || (last?.status === "skipped" && last.code === null);
    if (!done) {
      const { status } = entry.data as EntryData<"run.sealed">;
      throw wrong(`The run is ${status}, and its step ${JSON.stringify(id)} is not done.`);
    }
    if (last.skill !== fieldOf(one, "skill")) {
      throw wrong(`The step ${last.step_id} is of another skill than the plan says.`);
    }
  }
}

function fieldOf(value: JsonValue, name: string): JsonValue {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  return Object.hasOwn(value, name) ? (value[name] ?? null) : null;
}
