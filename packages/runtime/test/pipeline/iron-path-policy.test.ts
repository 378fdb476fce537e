import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Action, ActionContext } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";
import { exampleFolder, examplePipeline } from "./support/program-runner.ts";

const pipeline = examplePipeline();
const { approvals, policy: policyPath } = pipeline.governance;
const engine = new PolicyEngine(
  parsePolicy(readFileSync(join(exampleFolder, policyPath)), policyPath),
);

const context: ActionContext = {
  tenant_id: "default",
  run_id: "run_aaaaaaaaaaaaaaaaaaaa",
  step_id: "promotion",
  attempt: 1,
  role: "deployer",
  mode: "sovereign",
  config_digest: "a".repeat(64),
  policy_digest: engine.policyDigest,
};
const action = (type: string): Action => ({ type, resource: "penguin_species", params: {} });

describe("the Iron Path's policy", () => {
  it.each(["data.prepare", "model.train", "agent.judge", "evidence.export"])(
    "allows %s",
    (type) => {
      expect(engine.decide(action(type), context)).toMatchObject({
        effect: "allow",
        approvals: null,
      });
    },
  );

  it.each(["model.promote", "model.rollback"])("wants the pipeline's approvals for %s", (type) => {
    expect(engine.decide(action(type), context)).toMatchObject({ effect: "step_up", approvals });
  });

  it.each(["command.run", "file.write", "http.call", "model.delete", "key.export"])(
    "denies %s",
    (type) => {
      expect(engine.decide(action(type), context).effect).toBe("deny");
    },
  );
});

describe("the variants of the Iron Path", () => {
  it.each(["pipeline-failing-stage.yaml", "pipeline-rejected-model.yaml"])(
    "%s is the pipeline with one value changed",
    (file) => {
      const lines = (name: string): string[] =>
        readFileSync(join(exampleFolder, name), "utf8").split("\n").slice(3);
      const original = lines("pipeline.yaml");
      const variant = lines(file);
      expect(variant).toHaveLength(original.length);
      expect(variant.filter((line, index) => line !== original[index])).toHaveLength(1);
    },
  );
});
