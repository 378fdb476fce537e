import { digestOf, type EntryData, type JsonObject } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { EgressDesk } from "../../src/agents/index.ts";
import type { PolicyDecider } from "../../src/kernel/index.ts";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { connectionWorld, type Lie } from "../support/connection-evidence.ts";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import { HandGate } from "../support/model-rig.ts";

/** A sealed run with two connections, one whose end nobody saw, and a refusal; told with a lie. */
async function judged(lie: Lie = (_, data) => data): Promise<ReturnType<typeof judge>> {
  const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world) => {
    const { policyDigest } = world.policy;
    const desk = await EgressDesk.open(
      {
        context: {
          tenant_id: "acme",
          run_id: RUN,
          step_id: "command",
          attempt: 1,
          role: "trainer",
          mode: "sovereign",
          config_digest: session.configDigest,
          policy_digest: policyDigest,
        },
        policy: opening(policyDigest),
        scram: new HandGate(),
        entropy: systemEntropy,
        record: async (event, severity, data) => {
          const told = lie(event, data);
          if (told !== null) await session.note(event, severity, told);
        },
      },
      null,
    );
    const first = await desk.connected("a.example.org", 443, "93.184.216.34");
    await desk.connected("b.example.org", 8443, "2606:2800::1");
    await desk.refused("c.example.org:443", "ERR_EGRESS_DENIED", "no rule");
    await desk.closed(first, "closed", 100, 2000);
    await desk.abandon();
  });
  const verdict = judge(await made.bundle(), made.trustRoot());
  made.dispose();
  return verdict;
}

/** The world's policy names no hosts: this one does under its digest. */
function opening(policyDigest: string): PolicyDecider {
  const hosts = ["*.example.org", "*.example.org:*"];
  const document = { policy_id: "m", schema_version: "1.0", network: { hosts } };
  const engine = new PolicyEngine(
    parsePolicy(Buffer.from(JSON.stringify(document)), "policy.json"),
  );
  const decide: PolicyDecider["decide"] = (action, context) => ({
    ...engine.decide(action, { ...context, policy_digest: engine.policyDigest }),
    policy_digest: policyDigest,
  });
  return { policyDigest, decide };
}

describe("connections in evidence", () => {
  it("are VALID as they are told", async () => {
    expect(await judged()).toEqual({ verdict: "VALID", failures: {} });
  });

  const set =
    (wanted: string, change: (data: JsonObject) => JsonObject): Lie =>
    (event, data) =>
      event === wanted ? { ...data, ...change(data) } : data;
  const inner = (data: JsonObject, name: string): JsonObject => data[name] as JsonObject;
  const decided = (change: JsonObject): Lie =>
    set("egress.connected", (data) => ({ decision: { ...inner(data, "decision"), ...change } }));
  const lies: readonly (readonly [string, Lie])[] = [
    ["an end that is not told", (event, data) => (event === "egress.closed" ? null : data)],
    ["a beginning that is not told", (event, data) => (event === "egress.connected" ? null : data)],
    ["one connection twice", set("egress.connected", () => ({ connection: CONNECTION }))],
    ["another host than was decided on", set("egress.connected", () => ({ host: "evil.org" }))],
    ["another port than was decided on", set("egress.connected", () => ({ port: 22 }))],
    ["another role than was decided on", set("egress.connected", () => ({ role: "deployer" }))],
    ["a decision that denies", decided({ effect: "deny", rules: [] })],
    ["a decision that names no rule", decided({ rules: [] })],
    ["a decision that only observed", decided({ observed: true })],
    ["a decision of another policy", decided({ policy_digest: "1".repeat(64) })],
    ["a decision on another request", decided({ request_digest: "1".repeat(64) })],
    ["another field", set("egress.closed", () => ({ note: "x" }))],
  ];
  for (const [what, lie] of lies) {
    it(`are INVALID with ${what}`, async () => {
      expect((await judged(lie)).verdict).toBe("INVALID");
    });
  }
});

describe("connections of a goal's steps in evidence", () => {
  async function told(lie?: Lie): Promise<ReturnType<typeof judge>> {
    const made = await connectionWorld(lie);
    const verdict = judge(await made.bundle(), made.trustRoot());
    made.dispose();
    return verdict;
  }

  it("are VALID as they are told, also by a step that took an approval", async () => {
    expect(await told()).toEqual({ verdict: "VALID", failures: {} });
  });

  /** The entry with another action, decided on by the same rules. */
  const about = (change: (data: EntryData<"egress.connected">) => void): Lie => {
    return (event, data) => {
      if (event !== "egress.connected") return data;
      const changed = structuredClone(data) as unknown as EntryData<"egress.connected">;
      change(changed);
      const { action, role } = changed;
      const asked = { action, tenant_id: "acme", role, mode: "sovereign" };
      changed.decision.request_digest = digestOf(asked);
      return changed;
    };
  };
  it.each<[string, Lie]>([
    [
      "a place that no step was let through to",
      about((data) => {
        data.host = "evil.example.org";
        const { port } = data;
        data.action.resource = port === 443 ? data.host : `${data.host}:${port}`;
      }),
    ],
    ["a skill that no step has", about(({ action }) => (action.type = "skill.email_send"))],
    ["a role that no step has", about((data) => (data.role = "deployer"))],
    [
      "approvals, for what is no step's",
      about(({ action, host, port }) => {
        action.type = "network.connect";
        action.resource = port === 443 ? host : `${host}:${port}`;
      }),
    ],
    ["another host than its step's", about((data) => (data.host = "evil.example.org"))],
  ])("are INVALID with %s", async (_, lie) => {
    const { verdict, failures } = await told(lie);
    expect(verdict).toBe("INVALID");
    expect(Object.keys(failures)).toEqual(["policy_resolution_trace"]);
  });
});

const CONNECTION = `conn_${"a".repeat(20)}`;
