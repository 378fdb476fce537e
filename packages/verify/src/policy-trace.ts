import { digestOf, type EntryData, type PlacedEntry } from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

type Authorized = EntryData<"execution.authorized">;

const OUTCOMES: ReadonlySet<string> = new Set([
  "execution.completed",
  "execution.failed",
  "execution.killed",
]);

/**
 * Step 4: every action that ran was allowed by a decision, under this run's policy, and bound to
 * exactly itself; every outcome belongs to one authorisation.
 */
export function verifyPolicyTrace(evidence: Evidence, step: StepRecorder): void {
  const [first] = evidence.bundle.entries;
  const admitted =
    first === undefined ? null : step.check("entries[0]", () => admission(evidence, first));
  if (admitted === null) return;
  const open = new Set<string>();
  const nonces = new Set<string>();
  const count = { authorized: 0, refused: 0, stepUps: 0 };
  for (const [sequence, entry] of evidence.bundle.entries.entries()) {
    const { event_type: event } = entry.entry;
    if (event === "execution.authorized") {
      count.authorized += 1;
      step.check(`entries[${sequence}]`, () => {
        const data = evidence.data(entry, event);
        if (data.decision.effect === "step_up") count.stepUps += 1;
        // First, so that a bad authorisation is one failure, and not its outcome's as well.
        open.add(keyOf(data.context.step_id, data.context.attempt, data.action_digest));
        verifyAuthorized(evidence, entry, data, admitted, nonces);
      });
    } else if (OUTCOMES.has(event)) {
      step.check(`entries[${sequence}]`, () => {
        const { step_id, attempt, action_digest } = entry.entry.data;
        const key = keyOf(step_id, attempt, action_digest);
        if (!open.delete(key)) throw wrong("An outcome without its authorisation.");
      });
    } else if (event.startsWith("execution.")) count.refused += 1;
  }
  step.detail("resolutions", count.authorized + count.refused);
  step.detail("authorized", count.authorized);
  step.detail("refused", count.refused);
  step.detail("approved_by_people", count.stepUps);
}

function keyOf(step: unknown, attempt: unknown, action: unknown): string {
  return JSON.stringify([step, attempt, action]);
}

function admission(evidence: Evidence, first: PlacedEntry): EntryData<"run.admitted"> {
  const data = evidence.data(first, "run.admitted");
  const { manifest } = evidence.bundle;
  expectEqual(data.mode, manifest.mode, "The mode");
  expectEqual(data.installation_id, manifest.installation_id, "The installation");
  const { predicate } = evidence.open(
    data.envelopes.config_snapshot,
    "config-snapshot",
    first,
    () => ({
      purpose: "config",
      role: null,
    }),
  );
  expectEqual(digestOf(predicate.config), data.config_digest, "The configuration's digest");
  for (const name of ["config_digest", "plan_digest", "policy_digest", "mode"] as const) {
    expectEqual(predicate[name], data[name], `The snapshot's ${name}`);
  }
  expectEqual(predicate.run_id, manifest.run_id, "The snapshot's run");
  expectEqual(predicate.tenant_id, manifest.tenant_id, "The snapshot's tenant");
  return data;
}

function verifyAuthorized(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  admitted: EntryData<"run.admitted">,
  nonces: Set<string>,
): void {
  const { action, context, decision } = data;
  const { manifest } = evidence.bundle;
  expectEqual(digestOf(action), data.action_digest, "The action's digest");
  expectEqual(digestOf(context), data.context_digest, "The context's digest");
  expectEqual(context.run_id, manifest.run_id, "The context's run");
  expectEqual(context.tenant_id, manifest.tenant_id, "The context's tenant");
  expectEqual(context.mode, admitted.mode, "The context's mode");
  expectEqual(context.config_digest, admitted.config_digest, "The context's configuration");
  expectEqual(context.policy_digest, admitted.policy_digest, "The context's policy");
  expectEqual(decision.policy_digest, admitted.policy_digest, "The decision's policy");
  if (decision.effect === "deny") throw wrong("A denied action was authorised.");
  if (admitted.mode === "sovereign") {
    verifyRole(evidence, entry, data, nonces);
    verifyBinding(evidence, entry, data, nonces);
  }
  if (decision.effect === "step_up") verifyApprovals(evidence, entry, data, nonces);
}

function verifyRole(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  nonces: Set<string>,
): void {
  const digest = data.envelopes["role"];
  if (digest === undefined) throw wrong("The role signature is missing.");
  const { predicate } = evidence.open(digest, "role-assignment", entry, ({ role }) => ({
    purpose: "role",
    role,
  }));
  expectEqual(predicate.role, data.context.role, "The role");
  verifyUse(predicate, entry, data, nonces, "The role signature");
}

function verifyBinding(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  nonces: Set<string>,
): void {
  const digest = data.envelopes["binding"];
  if (digest === undefined) throw wrong("The policy binding is missing.");
  const { predicate } = evidence.open(digest, "policy-binding", entry, () => ({
    purpose: "binding",
    role: null,
  }));
  expectEqual(predicate.run_id, data.context.run_id, "The binding's run");
  expectEqual(predicate.tenant_id, data.context.tenant_id, "The binding's tenant");
  expectEqual(predicate.policy_digest, data.decision.policy_digest, "The binding's policy");
  expectEqual(digestOf(predicate.decision), digestOf(data.decision), "The binding's decision");
  verifyUse(predicate, entry, data, nonces, "The binding");
}

/** N of M by distinct keys, each over exactly this action in this context. */
function verifyApprovals(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  nonces: Set<string>,
): void {
  const wanted = data.decision.approvals;
  if (wanted === null) throw wrong("A step-up names no approvals.");
  const approvers = new Set<string>();
  for (const [name, digest] of Object.entries(data.envelopes)) {
    if (!name.startsWith("approval_")) continue;
    const { predicate, keyId } = evidence.open(digest, "approval", entry, ({ approver }) => ({
      purpose: "approval",
      role: approver,
    }));
    if (!wanted.roles.includes(predicate.approver)) {
      throw wrong(`${predicate.approver} may not approve this.`);
    }
    // The same approval twice counts once, and is no replay.
    if (approvers.has(keyId)) continue;
    verifyUse(predicate, entry, data, nonces, "An approval");
    approvers.add(keyId);
  }
  if (approvers.size < wanted.required) {
    throw wrong(`${approvers.size} distinct approvers; expected ${wanted.required}.`);
  }
}

function verifyUse(
  predicate: {
    action_digest: string;
    context_digest: string;
    nonce: string;
    issued_at: string;
    expires_at: string;
  },
  entry: PlacedEntry,
  data: Authorized,
  nonces: Set<string>,
  what: string,
): void {
  expectEqual(predicate.action_digest, data.action_digest, `${what}'s action`);
  expectEqual(predicate.context_digest, data.context_digest, `${what}'s context`);
  const { timestamp } = entry.entry;
  // One spelling per instant, so the order of the text is the order of time.
  if (timestamp < predicate.issued_at || timestamp > predicate.expires_at) {
    throw wrong(`${what} was good to ${predicate.expires_at}; it was used at ${timestamp}.`);
  }
  if (nonces.has(predicate.nonce)) throw wrong(`${what} was used before.`);
  nonces.add(predicate.nonce);
}
