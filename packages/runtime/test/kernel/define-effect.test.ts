import { ACTIONS, type ActionType, GENESIS_HASH } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { createBatchEffect } from "../../src/batch/index.ts";
import { createAgentEffect, TOOL_CALL, ToolCalls } from "../../src/coding/index.ts";
import { createExecutorEffects, createRollbackEffect } from "../../src/executor/index.ts";
import { defineEffect, type EffectResult, type Invocation } from "../../src/kernel/index.ts";
import { createPipelineEffects } from "../../src/pipeline/index.ts";
import { createSkillEffects } from "../../src/skills/index.ts";

const usage = { wall_ms: 0, output_bytes: 0 };
const invocation = (type: string, params: Invocation["action"]["params"]): Invocation => ({
  action: { type, resource: "r", params },
  context: {} as Invocation["context"],
  idempotencyKey: GENESIS_HASH,
  signal: new AbortController().signal,
});
const answering = (output: object) => (): Promise<EffectResult> =>
  Promise.resolve({ status: "completed", output: output as never, artifacts: [], usage });

/** Nothing of these is touched before an effect is called. */
const NOTHING = { toolset: null } as never;
const registries = {
  ...createExecutorEffects(NOTHING),
  ...createPipelineEffects(NOTHING),
  ...createSkillEffects(NOTHING),
  "command.run": createBatchEffect(NOTHING),
  "git.rollback": createRollbackEffect(NOTHING),
  "agent.run": createAgentEffect(NOTHING),
  [TOOL_CALL]: new ToolCalls(NOTHING).effect,
};

describe("the effects", () => {
  it("are those of the catalogue, each once declared", () => {
    expect(Object.keys(registries).sort()).toEqual(Object.keys(ACTIONS).sort());
  });

  it("say whether an earlier attempt happened, where the catalogue says so", () => {
    for (const [type, effect] of Object.entries(registries)) {
      const recalled = ACTIONS[type as ActionType].repeats === "recalled";
      expect(effect.recall !== undefined, type).toBe(recalled);
    }
  });
});

describe("an effect by its declaration", () => {
  it("is not called with parameters of another shape", async () => {
    let called = 0;
    const effect = defineEffect("evidence.export", () => {
      called += 1;
      return answering({ entries: 1 })();
    });
    for (const params of [{}, { artifact: "a", formats: ["json"], more: 1 }, { artifact: 1 }]) {
      await expect(effect(invocation("evidence.export", params))).rejects.toMatchObject({
        code: "ERR_FORMAT_INVALID",
      });
    }
    expect(called).toBe(0);
  });

  it("answers nothing of another shape, at once or when it is recalled", async () => {
    const params = { artifact: "a", formats: ["json"] };
    const wrong = defineEffect("evidence.export", answering({ entries: -1 }));
    await expect(wrong(invocation("evidence.export", params))).rejects.toMatchObject({
      code: "ERR_EFFECT_RESULT",
    });
    const recalled = defineEffect("model.promote", answering({}), answering({ model: "m" }));
    const promote = { artifact: "a", sha256: "b", bytes: 1, consensus: "none" };
    await expect(recalled.recall?.(invocation("model.promote", promote))).rejects.toMatchObject({
      code: "ERR_EFFECT_RESULT",
    });
  });
});
