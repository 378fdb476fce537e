import { type Policy, PolicyEngine as PeerEngine } from "@microsoft/agent-governance-sdk";
import { type Action, type ActionContext, GENESIS_HASH, utf8Encode } from "@sovereign/core";
import { PolicyEngine, parsePolicy } from "../packages/runtime/src/policy/index.ts";
import { type BenchReport, type BenchRow, measure, quantiles, round } from "./report.ts";

const CONTEXT: ActionContext = {
  tenant_id: "acme",
  run_id: `run_${"a".repeat(20)}`,
  step_id: "step",
  attempt: 1,
  role: "trainer",
  mode: "sovereign",
  config_digest: GENESIS_HASH,
  policy_digest: GENESIS_HASH,
};

/**
 * One decision, beside the peer's rich engine with the equivalent rules in the same process. The
 * action that is asked for is allowed by the last rule.
 */
export function run(): Promise<BenchReport> {
  const rows = [1, 10, 100].flatMap((rules) => {
    const types = Array.from({ length: rules }, (_, index) => `noun${index}.verb`);
    const last = types.at(-1) ?? "";
    const text = JSON.stringify({ policy_id: "p", schema_version: "1.0.0", operations: types });
    const action = (index: number): Action => ({
      type: last,
      resource: `resource${index}`,
      params: { index },
    });
    const engine = new PolicyEngine(parsePolicy(utf8Encode(text), "p.json"));
    const peer = peerOf(types);
    const ours = {
      "cold (read, compile, validate, decide)": measure((index) => {
        const fresh = JSON.stringify({
          policy_id: `p${index}`,
          schema_version: "1.0.0",
          operations: types,
        });
        new PolicyEngine(parsePolicy(utf8Encode(fresh), "p.json")).decide(action(0), CONTEXT);
      }, 100),
      "new request": measure((index) => engine.decide(action(index + 1), CONTEXT), 5000, 500),
      cached: measure(() => engine.decide(action(0), CONTEXT), 20_000),
    };
    const theirs = measure(
      (index) => peer.evaluatePolicy("agent", { action: { type: last }, index }),
      20_000,
    );
    const theirsCold = measure(
      () => peerOf(types).evaluatePolicy("agent", { action: { type: last } }),
      2000,
    );
    if (!peer.evaluatePolicy("agent", { action: { type: last } }).allowed) {
      throw new Error("the peer does not allow what the rules allow");
    }
    return rowsOf(rules, ours, theirs, theirsCold);
  });
  return Promise.resolve({ title: "Policy decisions, microseconds", rows });
}

function peerOf(types: readonly string[]): PeerEngine {
  const policy: Policy = {
    name: "p",
    default_action: "deny",
    rules: types.map((type, index) => ({
      name: `rule${index}`,
      condition: `action.type == '${type}'`,
      ruleAction: "allow",
    })),
  };
  const engine = new PeerEngine();
  engine.loadPolicy(policy);
  return engine;
}

function rowsOf(
  rules: number,
  ours: Readonly<Record<string, number[]>>,
  theirs: readonly number[],
  theirsCold: readonly number[],
): BenchRow[] {
  const peer = quantiles(theirs);
  const peerCold = quantiles(theirsCold);
  return [
    ...Object.entries(ours).map(([name, samples]): BenchRow => {
      const { p50, p99 } = quantiles(samples);
      const beside = name.startsWith("cold") ? peerCold : peer;
      return {
        name: `${rules} rules: ${name}`,
        values: {
          p50: round(p50),
          p99: round(p99),
          "peer p50": round(beside.p50),
          "peer p99": round(beside.p99),
          "ours / peer": round(p50 / beside.p50),
        },
      };
    }),
  ];
}
