import { readFileSync } from "node:fs";
import { isSovereignError } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { parsePipeline } from "../../src/pipeline/index.ts";

const example = new URL("../../../../examples/iron-path/pipeline.yaml", import.meta.url);
const text = readFileSync(example, "utf8");

function refusal(yaml: string): { code: string; message: string } {
  try {
    parsePipeline(Buffer.from(yaml), "p.yaml");
  } catch (error) {
    if (isSovereignError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("expected a refusal");
}

/** The example with one piece of text replaced; the piece must be there. */
function changed(from: string, to: string): string {
  expect(text).toContain(from);
  return text.replace(from, to);
}

describe("parsePipeline", () => {
  it("reads the Iron Path", () => {
    const pipeline = parsePipeline(Buffer.from(text), "pipeline.yaml");
    expect(pipeline.stages.map((stage) => stage.type)).toEqual([
      "data_preparation",
      "model_training",
      "promotion",
      "model_training",
      "agent_chain",
      "promotion",
      "rollback",
      "audit_export",
    ]);
    expect(pipeline.governance.approvals.required).toBe(2);
  });

  it("places an unknown field by line and column", () => {
    const { code, message } = refusal(changed("seed: 20240214", "seed: 20240214\nsneaky: 1"));
    expect(code).toBe("ERR_PIPELINE_INVALID");
    expect(message).toMatch(/^p\.yaml:9:1: .*sneaky/);
  });

  it.each([
    ["program: prepare.ts", "progam: prepare.ts", /: stages\.0: .*progam.*Did you mean program\?/],
    ["seed: 20240214", "seeds: 20240214", /seeds.*Did you mean seed\?/],
    ["seed: 20240214", "seed: 1\nzzzzzzzzzz: 1", /zzzzzzzzzz"$/],
  ])("says what a misspelt field was meant to be: %s, %s", (from, to, message) => {
    const found = refusal(changed(from, to));
    expect(found.code).toBe("ERR_PIPELINE_INVALID");
    expect(found.message).toMatch(message);
  });

  it.each([
    ["a string seed", "seed: 20240214", "seed: x", /^p\.yaml:8:\d+: seed/],
    ["a climbing path", "path: data/penguins.csv", "path: ../penguins.csv", /dataset\.path/],
    ["an absolute path", "path: data/penguins.csv", "path: /etc/passwd", /dataset\.path/],
    ["a hidden path", "path: data/penguins.csv", "path: data/.ssh", /dataset\.path/],
    ["a lax level", "enforcement_level: strict", "enforcement_level: lax", /enforcement_level/],
    ["no binding", "policy_binding_required: true", "policy_binding_required: false", /binding/],
    ["an odd stage type", "type: rollback", "type: rollforward", /stages\.6\.type/],
    ["no consensus at all", "    consensus: none\n", "", /consensus/],
    ["a dotted stage name", "- name: rollback", "- name: roll.back", /stages\.6\.name/],
    ["a stage named dataset", "- name: rollback", "- name: dataset", /stages\.6\.name/],
  ])("refuses %s", (_name, from, to, message) => {
    const found = refusal(changed(from, to));
    expect(found.code).toBe("ERR_PIPELINE_INVALID");
    expect(found.message).toMatch(message);
  });

  it.each([
    [
      "a later stage",
      "train: data_preparation/train.json",
      "train: agent_chain/x",
      /earlier stage/,
    ],
    [
      "an absent artifact",
      "train: data_preparation/train.json",
      "train: data_preparation/t",
      /has/,
    ],
    ["an absent dataset file", "data: dataset/data", "data: dataset/licence", /dataset has/],
    ["a name taken", "- name: baseline_training", "- name: data_preparation", /is taken/],
    ["result.json as output", "[train.json, test.json]", "[result.json]", /always there/],
    ["an output twice", "[train.json, test.json]", "[train.json, train.json]", /twice/],
    ["a role that votes twice", "role: validator", "role: planner", /votes twice/],
    ["consensus of no chain", "consensus: agent_chain", "consensus: rollback", /earlier/],
    ["consensus of a training", "consensus: agent_chain", "consensus: model_training", /agent_cha/],
    [
      "a model that nobody judged",
      "      model: model_training/model.json\n    consensus",
      "      model: baseline_training/model.json\n    consensus",
      /judges/,
    ],
    ["restoring a training", "restore: baseline_promotion", "restore: agent_chain", /a promotion/],
    ["judging a promotion", "training: model_training", "training: baseline_promotion", /no prog/],
    [
      "restoring another model",
      "    model: penguin_species\n    restore",
      "    model: other\n    restore",
      /promotes penguin/,
    ],
  ])("refuses %s", (_name, from, to, message) => {
    const found = refusal(changed(from, to));
    expect(found.code).toBe("ERR_PIPELINE_REFERENCE");
    expect(found.message).toMatch(/^p\.yaml:\d+:\d+: /);
    expect(found.message).toMatch(message);
  });

  it.each([
    ["an alias", "seed: &s 1\nname: *s\n"],
    ["an anchor", "seed: &s 1\n"],
    ["a tag of its own", "seed: !x 1\n"],
    ["a standard tag", "seed: !!binary aGk=\n"],
    ["a merge key", "a: {<<: {b: 1}}\n"],
    ["__proto__", "__proto__: {a: 1}\n"],
    ["a repeated key", "seed: 1\nseed: 2\n"],
    ["two documents", "seed: 1\n---\nseed: 2\n"],
    ["a directive", "%YAML 1.1\n---\nseed: yes\n"],
    ["infinity", "seed: .inf\n"],
    ["a number that loses digits", "seed: 12345678901234567890\n"],
    ["a lone surrogate", 'name: "\\uD800"\n'],
    ["a list as key", "? [a]\n: b\n"],
    ["a number as key", "1: b\n"],
    ["deep nesting", `a: ${"[".repeat(40)}${"]".repeat(40)}\n`],
    ["nesting beyond the stack", "[".repeat(200_000)],
    ["too many values", `a: [${"1,".repeat(30_000)}]\n`],
    ["broken YAML", "a: [1, 2\n"],
  ])("refuses %s as syntax", (_name, yaml) => {
    const found = refusal(yaml);
    expect(found.code).toBe("ERR_PIPELINE_SYNTAX");
    expect(found.message).toMatch(/^p\.yaml/);
  });

  it("says where a key stands the second time", () => {
    expect(refusal("seed: 1\nname: a\nseed: 2\n").message).toBe(
      "p.yaml:3:1: the key seed stands twice",
    );
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(() => parsePipeline(Uint8Array.of(0x61, 0xff), "p.yaml")).toThrow(/UTF-8/);
  });

  it("refuses an empty file", () => {
    expect(refusal("").code).toBe("ERR_PIPELINE_INVALID");
  });

  it("refuses a file that is too large", () => {
    expect(refusal("#".repeat(300_000)).code).toBe("ERR_PIPELINE_TOO_LARGE");
  });
});
