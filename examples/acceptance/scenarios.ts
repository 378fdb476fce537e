import type { Submission } from "../../packages/client/src/index.ts";
import { differencesOf } from "./compare.ts";
import { all, eventsOf, goalOf, type Row, same } from "./findings.ts";
import type { Place } from "./place.ts";

export const call = (place: Place, id: string, path: string, more: object = {}): Step => ({
  id,
  skill: "http_call",
  with: { url: `http://${place.host}/${path}` },
  ...more,
});
export const ask: Step = {
  id: "ask",
  skill: "llm_invoke",
  with: { vendor: "local", model: "claude-sonnet-4-5", prompt: "Say ok.", max_tokens: 50 },
};
export type Step = NonNullable<Submission["plan"]>["steps"][number];

/** What the first step's answer says is where the second would go: policy learns it late. */
export function lateDenial(place: Place): Step[] {
  const url = "http://127.0.0.1:${{ steps.one.output.status }}/";
  return [call(place, "one", "zen"), { ...call(place, "two", ""), with: { url } }];
}

interface Scenario {
  readonly name: string;
  readonly goal: (place: Place) => Partial<Submission>;
}

const SCENARIOS: readonly Scenario[] = [
  { name: "a goal that the stub plans", goal: () => ({}) },
  {
    name: "steps that refer to one another, and one that is skipped",
    goal: (place) => ({
      plan: {
        inputs: { path: "zen" },
        parallel: 1,
        steps: [
          call(place, "one", "${{ inputs.path }}"),
          call(place, "two", "${{ steps.one.output.status }}"),
          call(place, "three", "zen", {
            when: { value: "${{ steps.one.output.status }}", equals: 404 },
          }),
        ],
      },
    }),
  },
  { name: "a model's call", goal: () => ({ plan: { steps: [ask] } }) },
  {
    name: "a server that fails, tried again",
    goal: (place) => ({
      plan: { steps: [call(place, "one", "broken", { retry: { max: 1, backoff_ms: 1 } })] },
    }),
  },
  {
    name: "a step that fails for good",
    goal: () => ({ plan: { steps: [{ id: "no", skill: "__sdsr_fail_trigger__" }] } }),
  },
  {
    name: "a step that policy denies when its input is known",
    goal: (place) => ({ plan: { parallel: 1, steps: lateDenial(place) } }),
  },
  {
    name: "a plan that policy denies",
    goal: (place) => ({
      plan: { steps: [{ ...call(place, "a", ""), with: { url: "http://127.0.0.1:9/" } }] },
    }),
  },
];

/** The same goals by both doors. */
export const DOORS: readonly Row[] = SCENARIOS.map(({ name, goal }, at) => ({
  id: `A.${at + 1}`,
  criterion: `Command line and API record the same: ${name}`,
  check: async ({ place }) => {
    const asked = goalOf(place, goal(place));
    const typed = await place.run(asked);
    const submitted = await place.submit(asked);
    if (typed.run === null || submitted.run === null) {
      const told = ({ run, code }: typeof submitted): unknown => ({ run, code });
      return all(same(told(submitted), told(typed)), {
        holds: typed.code !== null,
        found: "no run",
      });
    }
    const [first, second] = [place.entriesOf(typed.run), place.entriesOf(submitted.run)];
    const differences = differencesOf(first, second);
    const told = differences.map((one) => JSON.stringify(one)).join(" ");
    const verified = [
      (await place.verify(typed.run)).verdict,
      (await place.verify(submitted.run)).verdict,
    ];
    return all(
      same({ status: submitted.status }, { status: typed.status }),
      {
        holds: differences.length === 0,
        found: told || `${first.length} entries: ${eventsOf(first).join(" ")}`,
      },
      same(verified, ["VALID", "VALID"]),
    );
  },
}));
