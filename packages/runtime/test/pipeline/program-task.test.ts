import {
  canonicalBytes,
  canonicalize,
  type JsonObject,
  type JsonValue,
  sha256Hex,
  utf8Encode,
} from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  canonicalize as canonicalizeInProgram,
  parseCanonical,
} from "../../../../examples/iron-path/programs/lib/canonical.ts";
import { ruleOf } from "../../../../examples/iron-path/programs/lib/rule.ts";
import {
  artifactsOf,
  checkProgramOutput,
  DEFAULT_LIMITS,
  judgeModelClaims,
  parseAgentVerdict,
  programRequest,
  programTasks,
  type ProgramTask,
  withFaults,
} from "../../src/pipeline/index.ts";
import { modelClaimsExample } from "./support/claims.ts";
import { examplePipeline } from "./support/program-runner.ts";

const pipeline = examplePipeline();

function taskOf(stepId: string): ProgramTask {
  const tasks = pipeline.stages.flatMap((stage) => programTasks(pipeline, stage));
  const found = tasks.find((task) => task.stepId === stepId);
  if (found === undefined) throw new Error(stepId);
  return found;
}

describe("programTasks", () => {
  it("gives one task for each program, named as the step", () => {
    const tasks = pipeline.stages.flatMap((stage) => programTasks(pipeline, stage));
    expect(tasks.map((task) => task.stepId)).toEqual([
      "data_preparation",
      "baseline_training",
      "model_training",
      "agent_chain.planner",
      "agent_chain.validator",
      "agent_chain.executor",
      "agent_chain.oversight",
    ]);
    expect(tasks[0]?.limits).toEqual(DEFAULT_LIMITS);
  });

  it("takes the limits that a stage names, and the defaults for the others", () => {
    const stage = pipeline.stages.find((one) => one.type === "model_training");
    if (stage === undefined) throw new Error("no training");
    const [task] = programTasks(pipeline, { ...stage, limits: { wall_ms: 5 } });
    expect(task?.limits).toEqual({ ...DEFAULT_LIMITS, wall_ms: 5 });
  });

  it("gives an agent the declared params of what it judges", () => {
    expect(taskOf("agent_chain.planner").params).toMatchObject({
      preparation: { test_fraction: 0.3 },
      training: { trees: 60 },
      acceptance: { min_accuracy: 0.9 },
    });
  });

  it("does not let an agent's own params stand in for those", () => {
    const chain = pipeline.stages.find((stage) => stage.type === "agent_chain");
    if (chain === undefined) throw new Error("no chain");
    const agents = chain.agents.map((agent) => ({ ...agent, params: { training: "other" } }));
    const [task] = programTasks(pipeline, { ...chain, agents });
    expect(task?.params["training"]).toEqual(taskOf("model_training").params);
  });

  it("names what later stages may refer to", () => {
    expect(pipeline.stages.map((stage) => artifactsOf(stage).length)).toEqual([
      3, 3, 0, 3, 4, 0, 0, 0,
    ]);
  });
});

describe("programRequest", () => {
  it("says where each input is, and its digest", () => {
    const digests = { train: "a".repeat(64), test: "b".repeat(64) };
    expect(programRequest(pipeline, taskOf("model_training"), digests)).toEqual({
      stage: "model_training",
      seed: 20240214,
      params: { trees: 60, max_depth: 8, min_samples: 3, features_per_tree: 3 },
      inputs: {
        train: { path: "/input/train", sha256: "a".repeat(64) },
        test: { path: "/input/test", sha256: "b".repeat(64) },
      },
      output: "/output",
    });
  });

  it("refuses to leave an input out", () => {
    expect(() => programRequest(pipeline, taskOf("model_training"), {})).toThrow(/input train/);
  });
});

describe("withFaults", () => {
  it("makes another pipeline, in which the fault is written", () => {
    const faulty = withFaults(pipeline, ["validator"]);
    expect(canonicalize(faulty as JsonValue)).not.toBe(canonicalize(pipeline as JsonValue));
    const tasks = faulty.stages.flatMap((stage) => programTasks(faulty, stage));
    const liars = tasks.filter((task) => task.params["fault"] === "lie");
    expect(liars.map((task) => task.role)).toEqual(["validator"]);
  });

  it("refuses a role that no agent has", () => {
    expect(() => withFaults(pipeline, ["trainer"])).toThrow(
      expect.objectContaining({ code: "ERR_PIPELINE_REFERENCE" }),
    );
  });
});

describe("checkProgramOutput", () => {
  const task = taskOf("model_training");
  const request = programRequest(pipeline, task, { train: "a".repeat(64), test: "b".repeat(64) });
  const model = utf8Encode("{}");
  const metrics = utf8Encode("[]");
  const result = {
    program: "train",
    stage: "model_training",
    seed: 20240214,
    inputs: { train: "a".repeat(64), test: "b".repeat(64) },
    outputs: {
      "model.json": { sha256: sha256Hex(model), bytes: model.length },
      "metrics.json": { sha256: sha256Hex(metrics), bytes: metrics.length },
    },
    summary: { accuracy: 1 },
  };
  const files = (changed: JsonObject = {}): Map<string, Uint8Array> =>
    new Map([
      ["model.json", model],
      ["metrics.json", metrics],
      ["result.json", canonicalBytes({ ...result, ...changed })],
    ]);

  it("measures every file itself", () => {
    expect(checkProgramOutput(task, request, files()).files).toEqual([
      { name: "metrics.json", sha256: sha256Hex(metrics), bytes: 2 },
      { name: "model.json", sha256: sha256Hex(model), bytes: 2 },
      expect.objectContaining({ name: "result.json" }),
    ]);
  });

  it("takes the result in any spelling of JSON, as programs print it", () => {
    const text = JSON.stringify(result, null, 2);
    const spelt = new Map([...files(), ["result.json", utf8Encode(`${text}\n`)]]);
    const checked = checkProgramOutput(task, request, spelt);
    expect(checked.result).toEqual(result);
    expect(checked.files.at(-1)?.sha256).toBe(sha256Hex(utf8Encode(`${text}\n`)));
  });

  const spoils: [string, Map<string, Uint8Array>, RegExp][] = [
    ["another stage", files({ stage: "promotion" }), /of stage promotion/],
    ["another seed", files({ seed: 1 }), /seed 1/],
    ["other inputs", files({ inputs: { train: "a".repeat(64) } }), /other inputs/],
    ["an unknown field", files({ more: 1 }), /more/],
    ["no outputs", files({ outputs: {} }), /another digest/],
    ["a summary that is none", files({ summary: 1 }), /summary/],
    ["a file too many", new Map([...files(), ["core", model]]), /expected the files/],
    ["a file too few", new Map([...files()].slice(1)), /expected the files/],
    ["no result", new Map([...files()].slice(0, 2)), /expected result\.json/],
    ["other bytes", new Map([...files(), ["model.json", metrics]]), /another digest of model/],
    ["a result that is no JSON", new Map([...files(), ["result.json", model.slice(1)]]), /result/],
    [
      "a result with a name twice",
      new Map([...files(), ["result.json", utf8Encode('{"seed":1,"seed":2}')]]),
      /result\.json/,
    ],
    [
      "a size that its file has not",
      files({
        outputs: { ...result.outputs, "model.json": { sha256: sha256Hex(model), bytes: 9 } },
      }),
      /states 9 bytes of model\.json; it has 2/,
    ],
    [
      "files that are not there",
      files({ outputs: { ...result.outputs, x: { sha256: "c".repeat(64), bytes: 1 } } }),
      /not there/,
    ],
  ];
  it.each(spoils)("refuses %s", (_name, spoiled, message) => {
    const check = (): unknown => checkProgramOutput(task, request, spoiled);
    expect(check).toThrow(expect.objectContaining({ code: "ERR_PROGRAM_OUTPUT" }));
    expect(check).toThrow(message);
  });
});

describe("parseAgentVerdict", () => {
  const task = taskOf("agent_chain.planner");
  const verdict = { role: "planner", verdict: "approve", claims: {}, findings: [] };

  it("reads a verdict", () => {
    expect(parseAgentVerdict(task, canonicalBytes(verdict))).toEqual(verdict);
  });

  it.each([
    ["another agent's", { ...verdict, role: "validator" }, /one of validator/],
    ["an abstention", { ...verdict, verdict: "abstain" }, /verdict/],
    ["one with more in it", { ...verdict, signature: "x" }, /signature/],
    ["a large one", { ...verdict, claims: { x: "x".repeat(40_000) } }, /verdict\.json/],
  ])("refuses %s", (_name, value, message) => {
    const parse = (): unknown => parseAgentVerdict(task, canonicalBytes(value));
    expect(parse).toThrow(expect.objectContaining({ code: "ERR_VERDICT_MALFORMED" }));
    expect(parse).toThrow(message);
  });
});

describe("what programs say for themselves", () => {
  it("has the runtime's canonical form", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false, maxDepth: 5 }), (value) => {
        const json = value as JsonValue;
        const text = canonicalize(json);
        expect(canonicalizeInProgram(json)).toBe(text);
        expect(canonicalize(parseCanonical(utf8Encode(text), "value"))).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  it("states the rule as control computes it", () => {
    const good = modelClaimsExample();
    const count = fc.integer({ min: 0, max: 30 });
    const share = fc.constantFrom(0, 0.2, 0.5, 0.8, 0.9, 1);
    const digest = fc.constantFrom("a".repeat(64), "b".repeat(64));
    const pair = fc.record({ given: digest, derived: fc.constant("a".repeat(64)) });
    const claims = fc
      .record({
        confusion: fc.tuple(fc.tuple(count, count), fc.tuple(count, count)),
        majority: count,
        acceptance: fc.record({
          licences: fc.constantFrom("CC0-1.0", "MIT").map((licence) => [licence]),
          min_accuracy: share,
          min_class_recall: share,
          min_gain_over_majority: share,
        }),
        model: pair,
        repeats: fc.boolean(),
        both: fc.constantFrom(0, 0, 1),
      })
      .map(({ confusion, majority, acceptance, model, repeats, both }) => {
        const rows = confusion.flat().reduce((sum, n) => sum + n, 0);
        const correct = confusion[0][0] + confusion[1][1];
        return {
          ...good,
          acceptance,
          artifacts: { ...good.artifacts, model },
          checks: { ...good.checks, training_repeats: repeats, rows_in_both: both },
          evaluation: {
            rows,
            correct,
            majority_correct: Math.min(majority, rows),
            confusion: confusion.map((row) => [...row]),
          },
        };
      })
      .filter(({ evaluation }) => evaluation.rows > 0);
    fc.assert(
      fc.property(claims, (made) => {
        expect(judgeModelClaims(made)).toBe(ruleOf(made).verdict);
      }),
      { numRuns: 2000 },
    );
  });
});
