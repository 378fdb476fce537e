import { type Policy, PolicyEngine as PeerEngine } from "@microsoft/agent-governance-sdk";
import { type Action, type ActionContext, GENESIS_HASH, utf8Encode } from "@sovereign/core";
import { CEDAR_SCHEMA } from "../packages/runtime/src/policy/cedar.ts";
import { CedarModule } from "../packages/runtime/src/policy/cedar-module.ts";
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
    const alone = cedarAlone(engine, last);
    const theirsCold = measure(
      () => peerOf(types).evaluatePolicy("agent", { action: { type: last } }),
      2000,
    );
    if (!peer.evaluatePolicy("agent", { action: { type: last } }).allowed) {
      throw new Error("the peer does not allow what the rules allow");
    }
    return rowsOf(rules, ours, { alone, theirs, theirsCold });
  });
  rows.push(lookingRow());
  return Promise.resolve({ title: "Policy decisions, microseconds", rows });
}

/** A rule that looks at the resource: Cedar is asked about each anew. */
function lookingRow(): BenchRow {
  const text = `permit (principal, action, resource) when { context.type == "noun.verb" && resource.name like "resource*" };`;
  const engine = new PolicyEngine(parsePolicy(utf8Encode(text), "p.cedar"));
  const action = (index: number): Action => ({
    type: "noun.verb",
    resource: `resource${index}`,
    params: { index },
  });
  if (engine.decide(action(0), CONTEXT).effect !== "allow") throw new Error("not allowed");
  const ours = quantiles(measure((index) => engine.decide(action(index + 1), CONTEXT), 5000, 500));
  const cedar = quantiles(cedarAlone(engine, "noun.verb"));
  return {
    name: "a rule that looks at the resource: new request",
    values: {
      p50: round(ours.p50),
      p99: round(ours.p99),
      "Cedar alone p50": round(cedar.p50),
      "ours / Cedar": round(ours.p50 / cedar.p50),
    },
  };
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

/** Cedar itself over the same compiled rules, asked of another resource each time. */
function cedarAlone({ policy }: PolicyEngine, type: string): number[] {
  const cedar = new CedarModule("bench", CEDAR_SCHEMA);
  if (cedar.prepare(policy.digest, policy.rules) !== null) throw new Error("no Cedar policies");
  return measure(
    (index) => {
      const uid = { type: "Resource", id: `resource${index}` };
      const { tenant_id: tenant, role, mode } = CONTEXT;
      const answer = cedar.ask(policy.digest, {
        principal: { type: "Role", id: role },
        action: { type: "Action", id: "execute" },
        resource: uid,
        context: { type, tenant, mode, matched: [] },
        preparsedPolicySetId: policy.digest,
        entities: [{ uid, attrs: { name: uid.id }, parents: [] }],
      });
      if (answer.type === "failure" || answer.response.decision !== "allow") {
        throw new Error("Cedar does not allow what the rules allow");
      }
    },
    5000,
    500,
  );
}

function rowsOf(
  rules: number,
  ours: Readonly<Record<string, number[]>>,
  others: Readonly<Record<"alone" | "theirs" | "theirsCold", readonly number[]>>,
): BenchRow[] {
  const { alone, theirs, theirsCold } = others;
  const cedar = quantiles(alone);
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
          ...(name === "new request"
            ? { "Cedar alone p50": round(cedar.p50), "ours / Cedar": round(p50 / cedar.p50) }
            : {}),
        },
      };
    }),
  ];
}
