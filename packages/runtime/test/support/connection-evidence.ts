import { type Action, GENESIS_HASH, type JsonObject } from "@sovereign/core";
import { EgressDesk } from "../../src/agents/index.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { EvidenceWorld, RUN } from "./evidence.ts";
import { HandGate } from "./model-rig.ts";

/** What is told in the place of a connection's entry; null for nothing. */
export type Lie = (event: string, data: JsonObject) => JsonObject | null;

const POLICY = `
policy_id: test
schema_version: 1.0.0
operations:
  - model.train
  - model.promote
  - agent.judge
  - { type: skill.http_call, resources: [a.example.org] }
  - { type: skill.slack_send, resources: ["b.example.org:8443/C01"] }
approvals:
  - { operations: [model.promote], required: 2, roles: [release_manager, safety_officer] }
  - { operations: [skill.slack_send], required: 1, roles: [release_manager] }
`;
const params = { version: "1.1.0", input: {}, timeout_ms: 1000 };
const STEPS: readonly (readonly [Action, string, number])[] = [
  [{ type: "skill.http_call", resource: "a.example.org", params }, "a.example.org", 443],
  [{ type: "skill.slack_send", resource: "b.example.org:8443/C01", params }, "b.example.org", 8443],
];

/** A sealed run with two steps that connect, the second by an approval; told with a lie. */
export function connectionWorld(lie: Lie = (_, data) => data): Promise<EvidenceWorld> {
  const connect = async (...[session, world]: Parameters<More>): Promise<void> => {
    world.result = {
      status: "completed",
      output: null,
      artifacts: [],
      usage: { wall_ms: 1, output_bytes: 0 },
    };
    for (const [step, host, port] of STEPS) {
      await session.perform({ stepId: step.type.slice(6), role: "trainer", action: step });
      const context = {
        ...{ tenant_id: "acme", run_id: RUN, step_id: "step", attempt: 1, role: "trainer" },
        ...{ mode: "sovereign" as const, config_digest: GENESIS_HASH },
        policy_digest: world.policy.policyDigest,
      };
      const desk = await EgressDesk.open(
        {
          ...{ step, context, policy: world.policy },
          scram: new HandGate(),
          entropy: systemEntropy,
          record: async (event, severity, data) => {
            const told = lie(event, data);
            if (told !== null) await session.note(event, severity, told);
          },
        },
        null,
      );
      const connection = await desk.connected(host, port, "93.184.216.34");
      await desk.closed(connection, "closed", 100, 2000);
    }
  };
  return EvidenceWorld.create("sovereign", RUN, 0, connect, { policy: POLICY });
}

type More = NonNullable<Parameters<typeof EvidenceWorld.create>[3]>;
