import { type Action, utf8Encode } from "@sovereign/core";
import { expect, it } from "vitest";
import { parsePolicy, PolicyEngine } from "../../src/policy/index.ts";

const POLICY = {
  policy_id: "near",
  schema_version: "1.0.0",
  allowlist: {
    file_operations: ["write_file"],
    paths: ["src/**", "docs/*.md"],
    commands: [
      { id: "wait", executable: "sleep", allowed_args: ["20"] },
      { id: "test", executable: "npm", allowed_args: ["test"] },
    ],
  },
  hosts: ["api.example.org"],
};

const CONTEXT = {
  tenant_id: "default",
  run_id: `run_${"a".repeat(20)}`,
  step_id: "step",
  attempt: 1,
  role: "agent",
  mode: "sovereign",
  config_digest: "0".repeat(64),
  policy_digest: "0".repeat(64),
} as const;

it.each<[string, string, Action["params"], RegExp]>([
  ["command.run", "sleep", { argv: ["1"] }, /asked: "sleep 1"; command:wait .* not match "1"/],
  ["command.run", "npm", { argv: ["test", "--watch"] }, /command:test .* not match "--watch"/],
  ["command.run", "rm", { argv: ["-rf", "x"] }, /"rm -rf x"; commands has "sleep", "npm"/],
  ["file.write", "lib/a", {}, /allowlist\.paths has "src\/\*\*", "docs\/\*\.md"/],
  ["file.delete", "src/a", {}, /"src\/\*\*" matches .* does not name delete_file/],
  ["http.call", "evil.example", {}, /hosts has "api\.example\.org"/],
])("a denial of %s on %s says what came closest", (type, resource, params, why) => {
  const policy = parsePolicy(utf8Encode(JSON.stringify(POLICY)), "policy.json");
  const decision = new PolicyEngine(policy).decide({ type, resource, params }, CONTEXT);
  expect(decision.effect).toBe("deny");
  expect(decision.reasons.join("; ")).toMatch(why);
});
