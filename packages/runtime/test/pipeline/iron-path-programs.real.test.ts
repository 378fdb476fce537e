import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  digestOf,
  type JsonObject,
  parseStrictJson,
  sha256Hex,
  utf8Decode,
  utf8Encode,
} from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type CastVote,
  judgeModelClaims,
  judgeVotes,
  parseAgentVerdict,
  withFaults,
} from "../../src/pipeline/index.ts";
import { exampleFolder, examplePipeline, ProgramRunner } from "./support/program-runner.ts";

const AGENTS = ["planner", "validator", "executor", "oversight"];
const agentSteps = AGENTS.map((role) => `agent_chain.${role}`);

let runner: ProgramRunner;
beforeEach(() => {
  runner = new ProgramRunner(examplePipeline());
});
afterEach(() => {
  runner.close();
});

function json(bytes: Uint8Array | undefined): JsonObject {
  if (bytes === undefined) throw new Error("no such file");
  return parseStrictJson(bytes) as JsonObject;
}

function prepareAndTrain(): void {
  runner.step("data_preparation");
  runner.step("model_training");
}

function votes(): CastVote[] {
  return agentSteps.map((stepId) => {
    const task = runner.taskOf(stepId);
    const { outputs } = runner.step(stepId);
    const { role, verdict, claims } = parseAgentVerdict(
      task,
      outputs.get("verdict.json") ?? new Uint8Array(),
    );
    return { role, keyId: `key of ${role}`, envelope: digestOf({ role, claims }), verdict, claims };
  });
}

const ballot = { electorate: AGENTS, rule: judgeModelClaims };

describe("the Iron Path's programs", () => {
  it("prepare: reads real data, counts what it leaves out, and holds out by class", () => {
    const { outputs } = runner.step("data_preparation");
    expect(json(outputs.get("result.json"))["summary"]).toEqual({
      dataset_digest: runner.pipeline.dataset.sha256,
      licence: "CC0-1.0",
      rows_read: 344,
      rows_used: 342,
      excluded: { "missing:bill_length_mm": 2 },
      noted: { "invalid:sex": 1, "missing:sex": 8 },
      train_rows: { Adelie: 106, Chinstrap: 48, Gentoo: 86 },
      test_rows: { Adelie: 45, Chinstrap: 20, Gentoo: 37 },
    });
  });

  it("train: the candidate beats the baseline, and that beats always guessing the largest", () => {
    runner.step("data_preparation");
    const baseline = json(runner.step("baseline_training").outputs.get("metrics.json"));
    const candidate = json(runner.step("model_training").outputs.get("metrics.json"));
    expect(baseline["majority_accuracy"]).toBeLessThan(Number(baseline["accuracy"]));
    expect(baseline["accuracy"]).toBeLessThan(Number(candidate["accuracy"]));
    expect(candidate["accuracy"]).toBeGreaterThan(0.95);
  });

  it("gives the same bytes again", () => {
    prepareAndTrain();
    const first = new Map(runner.artifacts);
    prepareAndTrain();
    for (const [name, bytes] of runner.artifacts) {
      expect(sha256Hex(bytes), name).toBe(sha256Hex(first.get(name) ?? new Uint8Array()));
    }
  });

  it("the agents agree, each by its own reading, and control finds consensus", () => {
    prepareAndTrain();
    const result = judgeVotes(votes(), ballot);
    expect(result.status).toBe("SOVEREIGN_CONSENSUS_REACHED");
    expect(result.approvals).toEqual(AGENTS);
    expect(result.faulty).toEqual([]);
    const model = runner.artifacts.get("model_training/model.json") ?? new Uint8Array();
    const digest = sha256Hex(model);
    expect(result.claims).toMatchObject({
      artifacts: { model: { given: digest, derived: digest } },
      dataset: { digest: runner.pipeline.dataset.sha256 },
    });
  });

  it("one lying agent is outvoted and named, with what it claimed", () => {
    runner.close();
    runner = new ProgramRunner(withFaults(examplePipeline(), ["validator"]));
    prepareAndTrain();
    const result = judgeVotes(votes(), ballot);
    expect(result.status).toBe("SOVEREIGN_CONSENSUS_REACHED");
    expect(result.approvals).toEqual(["planner", "executor", "oversight"]);
    expect(result.faulty.map(({ role, kind }) => ({ role, kind }))).toEqual([
      { role: "validator", kind: "differs_from_quorum" },
    ]);
    expect(result.faulty[0]?.differs).toContainEqual({
      claim: "evaluation.correct",
      claimed: 102,
      expected: 100,
    });
  });

  it("two lying agents break the quorum", () => {
    runner.close();
    runner = new ProgramRunner(withFaults(examplePipeline(), ["validator", "oversight"]));
    prepareAndTrain();
    expect(judgeVotes(votes(), ballot).status).toBe("QUORUM_FAILURE_DRIFT_DETECTED");
  });

  it("a model that is not good enough is refused by all", () => {
    runner.close();
    runner = new ProgramRunner(examplePipeline("pipeline-rejected-model.yaml"));
    prepareAndTrain();
    const result = judgeVotes(votes(), ballot);
    expect(result.status).toBe("SOVEREIGN_CONSENSUS_REFUSED");
    expect(result.rejections).toEqual(AGENTS);
  });

  it("a training that cannot be done fails in one line", () => {
    runner.close();
    runner = new ProgramRunner(examplePipeline("pipeline-failing-stage.yaml"));
    runner.step("data_preparation");
    runner.step("baseline_training");
    const task = runner.taskOf("model_training");
    const { status, stderr } = runner.spawn(task, runner.requestOf(task));
    expect(status).toBe(1);
    expect(stderr).toBe("train: params.features_per_tree: expected at most 4\n");
    expect(readdirSync(join(runner.root, "output"))).toEqual([]);
  });
});

describe("the agents derive what they judge", () => {
  /** A change of one artifact, and the claim by which every agent must reject it. */
  const forgeries: [string, string, (text: string) => string, string][] = [
    ["a model with one threshold moved", "model_training/model.json", moveThreshold, "model"],
    ["metrics made better", "model_training/metrics.json", flatter, "metrics"],
    ["a training row relabelled", "data_preparation/train.json", relabel, "train"],
    ["a test row relabelled", "data_preparation/test.json", relabel, "test"],
  ];

  it.each(forgeries)("and reject %s", (_name, reference, forge, claim) => {
    prepareAndTrain();
    const before = utf8Decode(runner.artifacts.get(reference) ?? new Uint8Array());
    const after = forge(before);
    expect(after).not.toBe(before);
    runner.artifacts.set(reference, utf8Encode(after));
    const result = judgeVotes(votes(), ballot);
    expect(result.status).not.toBe("SOVEREIGN_CONSENSUS_REACHED");
    expect(result.approvals).toEqual([]);
    const findings = runner.artifacts.get("agent_chain.planner/verdict.json");
    expect(json(findings)["findings"]).toContain(`artifacts.${claim}: given is not derived`);
  });

  function moveThreshold(text: string): string {
    return text.replace(/"below":(\d+)/, (_all, digits: string) => `"below":${Number(digits) + 1}`);
  }
  function flatter(text: string): string {
    return text.replace(/"correct":\d+/, '"correct":102');
  }
  function relabel(text: string): string {
    return text.replace(/"y":\[0/, '"y":[1');
  }
});

describe("a program refuses, in one line and with exit 1,", () => {
  function refusalOf(stepId: string, request: JsonObject | Uint8Array): string {
    const { status, stderr } = runner.spawn(runner.taskOf(stepId), request);
    expect(status).toBe(1);
    expect(stderr.endsWith("\n")).toBe(true);
    expect(stderr.trimEnd()).not.toContain("\n");
    expect(readdirSync(join(runner.root, "output"))).not.toContain("result.json");
    return stderr;
  }

  const changes: [string, (request: JsonObject) => JsonObject, RegExp][] = [
    ["an unknown field", (request) => ({ ...request, more: 1 }), /request: .*more/],
    ["no seed", (request) => ({ ...request, seed: null }), /request\.seed/],
    ["a negative seed", (request) => ({ ...request, seed: -1 }), /request\.seed/],
    ["unknown params", (request) => ({ ...request, params: { x: 1 } }), /params/],
    ["no inputs", (request) => ({ ...request, inputs: {} }), /inputs: expected data, descriptor/],
    ["no output folder", (request) => ({ ...request, output: "/nowhere/x" }), /ENOENT/],
    [
      "half of the data as test and more",
      (request) => ({ ...request, params: { licences: ["CC0-1.0"], test_fraction: 0.9 } }),
      /params\.test_fraction/,
    ],
    [
      "a licence that may not be used",
      (request) => ({ ...request, params: { licences: ["MIT"], test_fraction: 0.3 } }),
      /expected a licence of MIT; found CC0-1\.0/,
    ],
  ];
  it.each(changes)("%s", (_name, change, message) => {
    const request = runner.requestOf(runner.taskOf("data_preparation"));
    expect(refusalOf("data_preparation", change(request))).toMatch(message);
  });

  it("a request that is not canonical, or not JSON", () => {
    const request = runner.requestOf(runner.taskOf("data_preparation"));
    const spaced = utf8Encode(` ${utf8Decode(canonicalBytes(request))}`);
    expect(refusalOf("data_preparation", spaced)).toMatch(/canonical/);
    expect(refusalOf("data_preparation", utf8Encode("{"))).toMatch(/expected JSON/);
    expect(refusalOf("data_preparation", Uint8Array.of(0xff))).toMatch(/expected JSON/);
  });

  it("an input whose bytes are not those of its digest", () => {
    const request = runner.requestOf(runner.taskOf("data_preparation"));
    const path = join(runner.root, "input", "data");
    writeFileSync(path, `${readFileSync(path, "utf8")}Adelie,Dream,39,18,190,3700,male\n`);
    expect(refusalOf("data_preparation", request)).toMatch(/input data: expected SHA-256/);
  });

  it("to write over a file that is there", () => {
    const request = runner.requestOf(runner.taskOf("data_preparation"));
    writeFileSync(join(runner.root, "output", "train.json"), "");
    expect(refusalOf("data_preparation", request)).toMatch(/EEXIST/);
  });

  const csv = readFileSync(join(exampleFolder, "data", "penguins.csv"), "utf8");
  const broken: [string, string, RegExp][] = [
    ["other columns", csv.replace("species,", "kind,"), /expected the columns species/],
    ["a field too many", csv.replace("3750,", "3750,,"), /line 2: expected 7 fields, found 8/],
    [
      "a row too few",
      csv.slice(0, csv.lastIndexOf("\n", csv.length - 2) + 1),
      /344 rows, found 343/,
    ],
    ["quotes", csv.replace("Torgersen", '"Torgersen"'), /without quotes/],
    ["no last line feed", csv.slice(0, -1), /line feed/],
    ["no data at all", "", /line feed/],
  ];
  it.each(broken)("data with %s", (_name, text, message) => {
    give(text);
    const request = runner.requestOf(runner.taskOf("data_preparation"));
    expect(refusalOf("data_preparation", request)).toMatch(message);
  });

  it("data that its description does not describe", () => {
    runner.artifacts.set("dataset/data", utf8Encode(csv.replace("3750", "3751")));
    const request = runner.requestOf(runner.taskOf("data_preparation"));
    expect(refusalOf("data_preparation", request)).toMatch(/the description is of/);
  });

  it("rows out of range by leaving them out, counted by reason", () => {
    give(csv.replace("39.1", "391").replace("39.5", "4e1").replace("40.3", ""));
    const { outputs } = runner.step("data_preparation");
    expect(json(outputs.get("result.json"))["summary"]).toMatchObject({
      rows_used: 339,
      excluded: { "invalid:bill_length_mm": 2, "missing:bill_length_mm": 3 },
    });
  });

  it("a model that names what is not there", () => {
    prepareAndTrain();
    const model = utf8Decode(runner.artifacts.get("model_training/model.json") ?? new Uint8Array());
    const forged = model.replace(/\{"class":0\}/, '{"class":7}');
    runner.artifacts.set("model_training/model.json", utf8Encode(forged));
    const request = runner.requestOf(runner.taskOf("agent_chain.validator"));
    expect(refusalOf("agent_chain.validator", request)).toMatch(/model\.trees: expected/);
  });

  /** Other data, with a description that has its digest. */
  function give(text: string): void {
    const description = utf8Decode(runner.artifacts.get("dataset/descriptor") ?? new Uint8Array());
    const digest = sha256Hex(utf8Encode(text));
    const pinned = description.replace(runner.pipeline.dataset.sha256, digest);
    runner.artifacts.set("dataset/data", utf8Encode(text));
    runner.artifacts.set("dataset/descriptor", utf8Encode(pinned));
  }
});
