import type { JsonObject } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { ModelCallDesk } from "../../src/agents/index.ts";
import type { PolicyDecider } from "../../src/kernel/index.ts";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import { HandGate, PRICED } from "../support/model-rig.ts";

type Lie = (event: string, data: JsonObject) => JsonObject | null;

const REQUEST = {
  wire: "anthropic_messages",
  vendor: "scripted",
  model: PRICED,
  request: { sha256: "0".repeat(64), bytes: 100 },
  inputTokens: 100,
  cachesForAnHour: false,
  outputTokensMax: 100,
} as const;
const USAGE = {
  input: 50,
  cache_read: 0,
  cache_write: 0,
  cache_write_1h: 0,
  output: 10,
  reasoning: 0,
};

/** A sealed run with two calls, one that nobody saw end, and some that were denied; told with a lie. */
async function judged(lie: Lie = (_, data) => data, denied = 1): Promise<ReturnType<typeof judge>> {
  const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world) => {
    const { policy } = world;
    const desk = await ModelCallDesk.open(
      {
        context: {
          tenant_id: "acme",
          run_id: RUN,
          step_id: "agent",
          attempt: 1,
          role: "trainer",
          mode: "sovereign",
          config_digest: session.configDigest,
          policy_digest: policy.policyDigest,
        },
        budget: { microusd: 10_000, tokens: null },
        policy: allowing(policy.policyDigest),
        scram: new HandGate(),
        clock: world.clock,
        entropy: systemEntropy,
        pricing: () => ({ provider: "anthropic", own: null }),
        record: async (event, severity, data) => {
          const told = lie(event, data);
          if (told !== null) await session.note(event, severity, told);
        },
      },
      null,
    );
    const first = await desk.reserve(REQUEST);
    const second = await desk.reserve(REQUEST);
    for (let at = 0; at < denied; at++) await desk.reserve({ ...REQUEST, outputTokensMax: 1000 });
    if (!first.allowed || !second.allowed) throw new Error("the calls are refused");
    const end = { ended: "completed", status: 200, answer: null, usage: USAGE } as const;
    await desk.settle(first.call, end);
    await desk.abandon();
  });
  const verdict = judge(await made.bundle(), made.trustRoot());
  made.dispose();
  return verdict;
}

/** The world's policy speaks of no models: this one says yes under its digest. */
function allowing(policyDigest: string): PolicyDecider {
  const document = { policy_id: "m", schema_version: "1.0", operations: ["llm.call"] };
  const engine = new PolicyEngine(
    parsePolicy(Buffer.from(JSON.stringify(document)), "policy.json"),
  );
  const decide: PolicyDecider["decide"] = (action, context) => ({
    ...engine.decide(action, { ...context, policy_digest: engine.policyDigest }),
    policy_digest: policyDigest,
  });
  return { policyDigest, decide };
}

const inner = (data: JsonObject, name: string): JsonObject => data[name] as JsonObject;

describe("model calls in evidence", () => {
  it("are VALID as they are told, with one call whose end nobody saw", async () => {
    expect(await judged()).toEqual({ verdict: "VALID", failures: {} });
  });

  it.each([100, 101, 150])(
    "are VALID with %i denied calls, told when others ended",
    async (many) => {
      expect(await judged(undefined, many)).toMatchObject({ verdict: "VALID", failures: {} });
    },
  );

  it("are VALID where there are as many calls as may be made", async () => {
    const told = await judged((_, data) =>
      "budget" in data ? { ...data, budget: { ...inner(data, "budget"), turns: 2 } } : data,
    );
    expect(told.verdict).toBe("VALID");
  });

  const set =
    (wanted: string, change: (data: JsonObject) => JsonObject): Lie =>
    (event, data) =>
      event === wanted ? { ...data, ...change(data) } : data;
  const lies: readonly (readonly [string, Lie])[] = [
    [
      "a total that is too small",
      set("llm.called", (data) => ({ totals: { ...inner(data, "totals"), microusd: 0 } })),
    ],
    [
      "tokens that were not counted",
      set("llm.called", (data) => ({ totals: { ...inner(data, "totals"), tokens: 1 } })),
    ],
    ["a charge below the cost", set("llm.called", () => ({ charged: { tokens: 0, microusd: 0 } }))],
    [
      "an unseen end that costs nothing",
      (_, data) =>
        data["ended"] === "unknown" ? { ...data, charged: { tokens: 0, microusd: 0 } } : data,
    ],
    ["an end that is not told", (event, data) => (event === "llm.called" ? null : data)],
    ["a beginning that is not told", (event, data) => (event === "llm.reserved" ? null : data)],
    [
      "a budget that is smaller",
      (_, data) => ("budget" in data ? { ...data, budget: { microusd: 100, tokens: null } } : data),
    ],
    [
      "more calls than a limit of turns allows",
      (_, data) =>
        "budget" in data ? { ...data, budget: { ...inner(data, "budget"), turns: 1 } } : data,
    ],
    [
      "a budget that grows",
      set("llm.denied", () => ({ budget: { microusd: 99_000_000, tokens: null } })),
    ],
    [
      "another model than was decided on",
      set("llm.reserved", (data) => ({
        action: { ...inner(data, "action"), resource: "scripted/other" },
      })),
    ],
    ["another role than was decided on", set("llm.reserved", () => ({ role: "deployer" }))],
    [
      "a decision that denies",
      set("llm.reserved", (data) => ({
        decision: { ...inner(data, "decision"), effect: "deny", rules: [] },
      })),
    ],
    [
      "a decision of another policy",
      set("llm.reserved", (data) => ({
        decision: { ...inner(data, "decision"), policy_digest: "1".repeat(64) },
      })),
    ],
    ["one call twice", set("llm.reserved", () => ({ call: `call_${"a".repeat(20)}` }))],
    ["a cost without usage", set("llm.called", () => ({ usage: null }))],
    [
      "usage whose parts are more than their whole",
      set("llm.called", () => ({ usage: { ...USAGE, cache_read: 51 } })),
    ],
    ["another field", set("llm.called", () => ({ note: "x" }))],
  ];
  for (const [what, lie] of lies) {
    it(`are INVALID with ${what}`, async () => {
      expect((await judged(lie)).verdict).toBe("INVALID");
    });
  }
});
