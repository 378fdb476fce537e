import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by policy. */
export const policyCodes = {
  ERR_POLICY_TOO_LARGE: row.input("The policy file is larger than the limit."),
  ERR_POLICY_SYNTAX: row.input("The policy file is not JSON, plain YAML or Cedar."),
  ERR_POLICY_INVALID: row.input("The policy does not match its schema."),
  ERR_POLICY_MISSING: row.input(
    "No policy is named, and neither the repository nor the tenant has one that can be used.",
  ),
  ERR_POLICY_EXISTS: row.input("The repository has a policy, which is not overwritten."),
  ERR_POLICY_UNTRUSTED: row.denied(
    "The repository's own policy is not one that you accepted on this machine.",
  ),
  ERR_MATCH_LIMIT: row.denied(
    "Matching this against the policy takes more work than the limit: the action is denied.",
  ),
  ERR_PATH_REFUSED: row.denied("The path is not a plain path below the work tree."),
  ERR_HOST_REFUSED: row.denied("The host is not a plain name or address, with or without a port."),
} as const satisfies Record<string, ErrorRow>;
