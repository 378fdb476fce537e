import { type Action, type ActionContext, GENESIS_HASH, utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";
import { Recent } from "../../src/policy/recent.ts";

const context = (more: Partial<ActionContext> = {}): ActionContext => ({
  tenant_id: "acme",
  run_id: `run_${"a".repeat(20)}`,
  step_id: "step",
  attempt: 1,
  role: "trainer",
  mode: "sovereign",
  config_digest: GENESIS_HASH,
  policy_digest: GENESIS_HASH,
  ...more,
});

function decider(cedar: string): (resource: string, more?: Partial<ActionContext>) => string {
  const engine = new PolicyEngine(parsePolicy(utf8Encode(cedar), "p.cedar"));
  return (resource, more) => {
    const action: Action = { type: "model.train", resource, params: {} };
    return engine.decide(action, context(more)).effect;
  };
}

/** Each of these asks about the resource in another way: what was said of one is not said of another. */
const SEEING = [
  'permit (principal, action, resource == Resource::"good");',
  'permit (principal, action, resource) when { resource == Resource::"good" };',
  'permit (principal, action, resource) when { resource.name == "good" };',
  'permit (principal, action, resource) when { resource.name like "goo?" || resource.name like "good" };',
  'permit (principal, action, resource) unless { resource.name == "bad" };',
  'permit (principal, action, resource) when { resource in [Resource::"good"] };',
  'permit (principal, action, resource); forbid (principal, action, resource == Resource::"bad");',
];

describe("a rule that looks at the resource", () => {
  it.each(SEEING)("is asked of each resource: %s", (cedar) => {
    const decide = decider(cedar);
    for (let time = 0; time < 2; time++) {
      expect(decide("good")).toBe("allow");
      expect(decide("bad")).toBe("deny");
    }
  });

  it("is refused where it names one whose attributes nobody knows", () => {
    const cedar = `permit (principal, action, resource) when { Resource::"good".name == "good" };`;
    const decide = decider(cedar);
    expect(decide("good")).toBe("allow");
    expect(decide("bad")).toBe("deny");
  });
});

describe("a rule that does not look at the resource", () => {
  it("says the same of each, and is asked anew for another role, tenant or mode", () => {
    const decide = decider(`
      permit (principal == Role::"trainer", action, resource)
      when { context.tenant == "acme" && context.mode == "sovereign" };`);
    for (let time = 0; time < 2; time++) {
      expect(decide(`any${time}`)).toBe("allow");
      expect(decide(`any${time}`, { role: "deployer" })).toBe("deny");
      expect(decide(`any${time}`, { tenant_id: "other" })).toBe("deny");
      expect(decide(`any${time}`, { mode: "compatible" })).toBe("deny");
    }
  });

  it("says nothing for another policy", () => {
    expect(decider("permit (principal, action, resource);")("m")).toBe("allow");
    expect(decider("forbid (principal, action, resource);")("m")).toBe("deny");
  });
});

describe("what is kept of answers", () => {
  it("is at most so many, and what is asked for stays", () => {
    const recent = new Recent<number>(10);
    recent.set("asked", 1);
    for (let at = 0; at < 1000; at++) {
      recent.set(`other ${at}`, at);
      expect(recent.get("asked")).toBe(1);
    }
    const kept = Array.from({ length: 1000 }, (_, at) => recent.get(`other ${at}`));
    expect(kept.filter((one) => one !== undefined).length).toBeLessThanOrEqual(10);
  });
});
