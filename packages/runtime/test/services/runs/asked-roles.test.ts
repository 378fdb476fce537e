import { utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { parsePolicy } from "../../../src/policy/index.ts";
import { askedRoles, refuseUnasked } from "../../../src/services/runs/asked-roles.ts";

const POLICY = {
  policy_id: "asks",
  schema_version: "1.0.0",
  operations: [{ type: "model.promote", resources: ["*"] }],
  approvals: [
    { operations: ["model.promote"], required: 2, roles: ["release_manager", "safety_officer"] },
  ],
};

describe("the people whom a run may ask", () => {
  const asked = askedRoles(parsePolicy(utf8Encode(JSON.stringify(POLICY)), "policy.json"));

  it("are those of its policy", () => {
    expect([...asked].sort()).toEqual(["release_manager", "safety_officer"]);
    expect(() => {
      refuseUnasked(asked, asked);
    }).not.toThrow();
  });

  it.each([
    [["nobody"], asked, /--approver nobody.*only release_manager, safety_officer/],
    [["release_manager", "saftey_officer"], asked, /--approver saftey_officer/],
    [["reviewer"], [], /the consent of nobody at all/],
  ])("others than those are refused: %j", (approvers, roles, message) => {
    const refuse = (): void => {
      refuseUnasked(approvers, roles);
    };
    expect(refuse).toThrow(message);
    expect(refuse).toThrow(expect.objectContaining({ code: "ERR_APPROVER_REFUSED" }));
  });
});
