import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CompiledPolicy, PolicyEngine } from "../../src/policy/index.ts";
import { systemClock, systemEntropy } from "../../src/system/index.ts";
import { PROMOTE, TRAIN, World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

describe("what an embedding program holds", () => {
  it("is not the policy of an engine, which is what its digest names", () => {
    const { policy } = world.policy;
    expect(() => Object.assign(world.policy, { policy: { ...policy, mode: "observe" } })).toThrow(
      TypeError,
    );
    const lax: CompiledPolicy[] = [
      { ...policy, mode: "observe" },
      { ...policy, rules: {} },
      { ...policy, digest: "0".repeat(64) },
      { ...policy, rules: new Proxy(policy.rules, {}) },
    ];
    for (const one of lax) {
      expect(() => new PolicyEngine(one)).toThrow(
        expect.objectContaining({ code: "ERR_POLICY_INVALID" }),
      );
    }
    const mutable = structuredClone(policy) as { mode: string };
    const engine = new PolicyEngine(mutable as CompiledPolicy);
    mutable.mode = "observe";
    expect(engine.decide({ ...TRAIN, type: "model.delete" }, world.context()).effect).toBe("deny");
  });

  it("is not the clock that permissions are judged by", async () => {
    const clock = { now: () => world.clock.now(), monotonicMs: () => 0 };
    const kernel = world.kernel({ clock });
    const context = world.context();
    const authorization = await world.permission(TRAIN, context);
    const request = { action: TRAIN, context, authorization, approvals: [] };
    world.clock.ms += 24 * 60 * 60 * 1000;
    clock.now = () => new Date(Date.parse("2026-01-01T00:00:00.000Z"));
    expect(await kernel.execute(request)).toMatchObject({ code: "ERR_ROLE_EXPIRED" });
    expect(() => Object.assign(systemClock, clock)).toThrow(TypeError);
    expect(() => Object.assign(systemEntropy, { bytes: () => [] })).toThrow(TypeError);
  });
});

describe("a decision", () => {
  it("is refused where the context names another policy", async () => {
    const context = world.context({ policy_digest: "1".repeat(64) });
    const authorization = await world.permission(TRAIN, context);
    const request = { action: TRAIN, context, authorization, approvals: [] };
    const outcome = await world.kernel().execute(request);
    expect(outcome).toMatchObject({ status: "DENIED", code: "ERR_DECISION_INVALID" });
    expect(world.effects).toBe(0);
  });

  it("is bound as a whole: with other rules or approvals it is another decision", async () => {
    const context = world.context({ role: "deployer" });
    const easier = world.authorityFor((action, where) => ({
      ...world.policy.decide(action, where),
      approvals: { required: 1, roles: ["release_manager"] },
    }));
    const role = await easier.issueRoleAssignment(PROMOTE, context);
    const binding = await easier.issueBinding(PROMOTE, context);
    const approvals = await Promise.all(
      ["release_manager", "safety_officer"].map((who) => world.approve(who, PROMOTE, context)),
    );
    const request = { action: PROMOTE, context, authorization: { role, binding }, approvals };
    const outcome = await world.kernel().execute(request);
    expect(outcome).toMatchObject({ status: "BLOCKED", code: "ERR_BINDING_POLICY" });
    expect(world.effects).toBe(0);
  });
});
