import { digestOf, type JsonObject, RunTrace, type Statement } from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";
import { edit, type Held, inside, nothing, type Row, sealed } from "./row.ts";

const OTHER = "9".repeat(64);
const CONFIG = ["config", null] as const;

type Goal = NonNullable<Forgery["bundle"]["goal"]>;
type Body = Statement & { predicate: JsonObject };
type Make = (one: Forgery) => Promise<void> | void;

function goalOf({ bundle }: Forgery): Goal {
  if (bundle.goal === undefined) throw new Error("no goal");
  return bundle.goal;
}

const goalRow = (name: string, make: Make, verdict: Row["verdict"] = "INVALID"): Row => ({
  ...nothing(name, make, verdict),
  base: "goal",
});

/** Without a key: the section is changed, and the manifest fits. */
function sectionRow(what: string, change: (goal: Goal) => void): Row {
  return goalRow(`the record of a goal with ${what}`, (one) => {
    one.bundle.goal = structuredClone(goalOf(one));
    change(one.bundle.goal);
    one.recount();
  });
}

/** The record that the entries as they now are give, and the seal over it. */
async function retrace(
  one: Forgery,
  change: (proof: JsonObject) => void = () => undefined,
): Promise<void> {
  await one.reseal();
  const trace = RunTrace.of(one.bundle.entries.map(({ entry }) => entry));
  await one.reseal((proof) => {
    proof["trace"] = trace.seal();
    change(proof);
  });
  const made = RunTrace.of(one.bundle.entries.map(({ entry }) => entry));
  if (made.head === null) throw new Error("no trace");
  const { plan } = goalOf(one);
  one.bundle.goal = { plan, trace: made.head, steps: [...made.steps], integrity: made.seal() };
  await one.rehead();
  one.remanifest();
}

/** Changed, and everything of the goal made to fit by the keys that head and seal. */
function retraced(name: string, make: Make, verdict: Row["verdict"] = "INVALID"): Row {
  const remake = async (one: Forgery): Promise<void> => {
    await make(one);
    await retrace(one);
  };
  return { ...goalRow(name, remake, verdict), held: "checkpoint and seal" };
}

/** The seal's proof is changed, and signed by the seal's own key. */
function proofRow(what: string, change: (proof: JsonObject) => void): Row {
  const make = (one: Forgery): Promise<void> => retrace(one, change);
  return { ...goalRow(`a goal whose proof names ${what}`, make), held: "checkpoint and seal" };
}

/** Another plan, in the record, in the first entry and in what every key signed. */
function planRow(
  what: string,
  change: (plan: JsonObject) => void,
  verdict: Row["verdict"] = "INVALID",
): Row {
  const held: Held = "all keys";
  const make = async (one: Forgery): Promise<void> => {
    const plan = structuredClone(goalOf(one).plan);
    change(plan);
    one.bundle.goal = { ...goalOf(one), plan };
    const plan_digest = digestOf(plan);
    const first = one.entry("run.admitted");
    first.entry.data["plan_digest"] = plan_digest;
    await one.resign(first, "config_snapshot", planned(plan_digest), CONFIG);
    await retrace(one, (proof) => (proof["plan_digest"] = plan_digest));
  };
  return { ...goalRow(`a goal whose plan ${what}`, make, verdict), held };
}

const planned =
  (plan_digest: string) =>
  ({ predicate }: Body): void => {
    predicate["plan_digest"] = plan_digest;
  };

/** The run says everywhere that it is of another kind. */
async function renamed(one: Forgery, kind: string): Promise<void> {
  const first = one.entry("run.admitted");
  first.entry.data["kind"] = kind;
  const change = ({ predicate }: Body): void => {
    predicate["kind"] = kind;
  };
  await one.resign(first, "config_snapshot", change, CONFIG);
}

function leaveOut(one: Forgery): void {
  Reflect.deleteProperty(one.bundle, "goal");
  Reflect.deleteProperty(one.bundle.manifest.sections, "goal");
  one.recount();
}

/** What was promoted is said to have failed. */
function failPromotion(one: Forgery): void {
  const placed = one.entry("execution.completed", 1);
  const { step_id, attempt, action_digest } = placed.entry.data as Record<string, string>;
  const why = { code: "ERR_EFFECT_FAILED", reason: "it is said to have failed" };
  const data = { step_id, attempt, action_digest, ...why } as JsonObject;
  placed.entry = { ...placed.entry, event_type: "execution.failed", severity: "ERROR", data };
}

function removeEntry(one: Forgery, event: string): void {
  one.bundle.entries.splice(one.bundle.entries.indexOf(one.entry(event)), 1);
}

const stepsOf = (plan: JsonObject): JsonObject[] => plan["steps"] as JsonObject[];

/** The record alone is changed: nothing of it is believed. */
const OF_SECTIONS: readonly Row[] = [
  goalRow("the record of a goal left out", leaveOut),
  goalRow("the record of a goal without its digest", (one) => {
    Reflect.deleteProperty(one.bundle.manifest.sections, "goal");
  }),
  nothing("the record of a goal in a run that is none", (one) => {
    const made = RunTrace.of(one.bundle.entries.map(({ entry }) => entry));
    if (made.head === null) throw new Error("no trace");
    const plan = { kind: "goal", steps: [] };
    one.bundle.goal = { plan, trace: made.head, steps: [...made.steps], integrity: made.seal() };
    one.bundle.manifest.sections = { ...one.bundle.manifest.sections, goal: OTHER };
    one.recount();
  }),
  sectionRow("another output", ({ steps }) => {
    if (steps[0] !== undefined) steps[0].output = "better";
  }),
  sectionRow("another end", ({ steps }) => {
    if (steps[0] !== undefined) steps[0].status = "failed";
  }),
  sectionRow("another input", ({ steps }) => {
    if (steps[0] !== undefined) steps[0].input = { trees: 900 };
  }),
  sectionRow("a step less", ({ steps }) => steps.pop()),
  sectionRow("a step twice", ({ steps }) => steps.push(...steps.slice(-1))),
  sectionRow("steps in another order", ({ steps }) => steps.reverse()),
  sectionRow("another root", (goal) => (goal.integrity.root_hash = OTHER)),
  sectionRow("another length", (goal) => (goal.integrity.chain_length += 1)),
  sectionRow(
    "another trace in its root",
    (goal) => (goal.integrity.trace_id = `trc_${"z".repeat(20)}`),
  ),
  sectionRow("another root in its head", (goal) => (goal.trace.root_hash = OTHER)),
  sectionRow("another end of the run", (goal) => (goal.trace.status = "failed")),
  sectionRow("another plan", (goal) => (goal.plan["more"] = 1)),
];

const OF_SEALED_GOALS: readonly Row[] = [
  retraced("a step of a goal that failed, in a run that completed", failPromotion),
  retraced("a step of a goal left out with a code, in a run that completed", (one) => {
    edit(one, "step.skipped", (data) => (data["code"] = "ERR_STEP_SKIPPED"));
  }),
  retraced("a step of a goal missing in a run that completed", (one) => {
    removeEntry(one, "step.skipped");
  }),
  retraced("a step of a goal left out, of another skill than planned", (one) => {
    edit(one, "step.skipped", (data) => (data["skill"] = "kv_store"));
  }),
  sealed(
    "an output of a goal's step, with the old root",
    (one) => {
      edit(one, "execution.completed", (data) => (data["output"] = "better"));
    },
    "goal",
  ),
  proofRow("no chain", (proof) => Reflect.deleteProperty(proof, "trace")),
  proofRow("another root", (proof) => (inside(proof, "trace")["root_hash"] = OTHER)),
  proofRow("another length", (proof) => (inside(proof, "trace")["chain_length"] = 1)),
  proofRow("another trace", (proof) => {
    inside(proof, "trace")["trace_id"] = `trc_${"z".repeat(20)}`;
  }),
];

const OF_SIGNED_GOALS: readonly Row[] = [
  {
    ...goalRow("a goal whose snapshot says that it is a pipeline", async (one) => {
      await renamed(one, "pipeline");
      await retrace(one);
    }),
    held: "all keys",
  },
  {
    ...goalRow("a goal whose snapshot alone says that it is a pipeline", async (one) => {
      const first = one.entry("run.admitted");
      const change = ({ predicate }: Body): void => {
        predicate["kind"] = "pipeline";
      };
      await one.resign(first, "config_snapshot", change, CONFIG);
      await retrace(one);
    }),
    held: "all keys",
  },
  planRow("wants another skill", (plan) => {
    const [step] = stepsOf(plan);
    if (step !== undefined) step["skill"] = "kv_store";
  }),
  planRow("has a step that was not done", (plan) => {
    stepsOf(plan).push({ id: "more", skill: "http_call" });
  }),
  planRow("has no steps", (plan) => Reflect.deleteProperty(plan, "steps")),
];

/** What no rule can find: whoever holds these keys could have signed it honestly. */
const UNDETECTABLE_GOALS: readonly Row[] = [
  retraced(
    "an output of a goal's step, with a root that fits",
    (one) => {
      edit(one, "execution.completed", (data) => (data["output"] = "better"));
    },
    "VALID",
  ),
  retraced(
    "a refused attempt of a goal's step left out",
    (one) => {
      removeEntry(one, "execution.pending");
    },
    "VALID",
  ),
  {
    ...goalRow(
      "a goal that is said to have failed",
      async (one) => {
        one.at(-1).entry.data["status"] = "failed";
        await retrace(one, (proof) => Object.assign(proof, { status: "failed", reason: "so" }));
      },
      "VALID",
    ),
    held: "checkpoint and seal",
  },
  planRow("has a step less than were done", (plan) => stepsOf(plan).pop(), "VALID"),
  {
    ...goalRow(
      "a goal that is passed off as a pipeline",
      async (one) => {
        await renamed(one, "pipeline");
        await retrace(one, (proof) => Reflect.deleteProperty(proof, "trace"));
        leaveOut(one);
      },
      "VALID",
    ),
    held: "all keys",
  },
];

/** Forgeries of a goal's plan, steps and root. */
export const OF_GOALS: readonly Row[] = [
  ...OF_SECTIONS,
  ...OF_SEALED_GOALS,
  ...OF_SIGNED_GOALS,
  ...UNDETECTABLE_GOALS,
];
