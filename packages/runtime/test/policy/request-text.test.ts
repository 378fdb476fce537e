import { type ActionContext, digestOf, GENESIS_HASH, utf8Encode } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";

const POLICY = JSON.stringify({
  policy_id: "p",
  schema_version: "1.0.0",
  operations: ["model.train"],
});
const context = (tenant: string, role: string): ActionContext => ({
  tenant_id: tenant,
  run_id: `run_${"a".repeat(20)}`,
  step_id: "step",
  attempt: 1,
  role,
  mode: "sovereign",
  config_digest: GENESIS_HASH,
  policy_digest: GENESIS_HASH,
});

describe("a kept decision", () => {
  const engine = new PolicyEngine(parsePolicy(utf8Encode(POLICY), "p.json"));
  const action = { type: "model.train", resource: "m", params: { b: 1, a: 2 } };

  it("is given to the same request alone, however its parts run into each other", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "1", ":", "{", "9"), maxLength: 6 });
    fc.assert(
      fc.property(word, word, (tenant, role) => {
        const { request_digest: found } = engine.decide(action, context(tenant, role));
        expect(found).toBe(digestOf({ action, tenant_id: tenant, role, mode: "sovereign" }));
      }),
    );
  });

  it("is given whatever the order in which an action was written", () => {
    const first = engine.decide(action, context("acme", "trainer"));
    const { type, resource } = action;
    const again = { params: { a: 2, b: 1 }, resource, type };
    expect(engine.decide(again, context("acme", "trainer"))).toBe(first);
  });

  it("is never given to an action that was changed meanwhile", () => {
    const own = { ...action, params: { a: 1 } };
    const first = engine.decide(own, context("acme", "trainer"));
    own.params.a = 2;
    expect(engine.decide(own, context("acme", "trainer"))).not.toBe(first);
  });
});
