import {
  digestOf,
  type EntryData,
  holderOf,
  type PlacedEntry,
  type Predicate,
} from "@sovereign/core";
import { CallTrace } from "./call-trace.ts";
import type { Evidence } from "./evidence.ts";
import { Memo } from "./memo.ts";
import { verifyPermission } from "./permission.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

type Authorized = EntryData<"execution.authorized">;
type Admitted = EntryData<"run.admitted">;

/** What stands open while the entries are followed. */
interface Trace {
  readonly admitted: Admitted;
  /** Authorisations without their outcome. */
  readonly open: Set<string>;
  /** Places, a step and its attempt, that were authorised. */
  readonly places: Set<string>;
  readonly nonces: Set<string>;
  /** The digests of the decisions in bindings, by the envelope: many entries may name a long one. */
  readonly decisions: Memo<string>;
}

/**
 * Step 4: every action that ran was allowed by a decision, under this run's policy, and bound to
 * exactly itself; every outcome belongs to one authorisation.
 */
export function verifyPolicyTrace(evidence: Evidence, step: StepRecorder): void {
  const [first] = evidence.bundle.entries;
  const admitted =
    first === undefined ? null : step.check("entries[0]", () => admission(evidence, first));
  if (admitted === null) return;
  const trace = { admitted, open: new Set<string>(), places: new Set<string>() };
  const whole = { ...trace, nonces: new Set<string>(), decisions: new Memo<string>() };
  const count = { authorized: 0, refused: 0, stepUps: 0 };
  const calls = new CallTrace(admitted, evidence.bundle.manifest);
  for (const [sequence, entry] of evidence.bundle.entries.entries()) {
    const { event_type: event } = entry.entry;
    if (calls.isOurs(event)) {
      step.check(`entries[${sequence}]`, () => {
        calls.follow(evidence, entry);
      });
    }
    if (!event.startsWith("execution.") && event !== "approval.granted") continue;
    step.check(`entries[${sequence}]`, () => {
      if (event === "execution.authorized") {
        count.authorized += 1;
        const data = evidence.events.data(entry, event);
        if (data.decision.effect === "step_up") count.stepUps += 1;
        verifyAuthorized(evidence, entry, data, whole);
      } else if (!verifyOther(evidence, entry, whole)) count.refused += 1;
    });
  }
  step.detail("resolutions", count.authorized + count.refused);
  step.detail("authorized", count.authorized);
  step.detail("refused", count.refused);
  step.detail("approved_by_people", count.stepUps);
  for (const [name, value] of calls.details()) step.detail(name, value);
}

/** @returns false for a refusal */
function verifyOther(evidence: Evidence, entry: PlacedEntry, trace: Trace): boolean {
  const { event_type: event } = entry.entry;
  const { policy_digest: policy } = trace.admitted;
  switch (event) {
    case "approval.granted":
      verifyGranted(evidence, entry);
      return true;
    case "execution.completed":
    case "execution.failed":
    case "execution.killed": {
      const { step_id, attempt, action_digest } = evidence.events.data(entry, event);
      if (!trace.open.delete(keyOf(step_id, attempt, action_digest))) {
        throw wrong("An outcome without its authorisation.");
      }
      return true;
    }
    case "execution.denied": {
      const { action, action_digest, decision } = evidence.events.data(entry, event);
      expectEqual(digestOf(action), action_digest, "The action's digest");
      expectEqual(decision.effect, "deny", "The decision on a denied action");
      expectEqual(decision.policy_digest, policy, "The decision's policy");
      return false;
    }
    case "execution.pending": {
      const { decision } = evidence.events.data(entry, event);
      expectEqual(decision.effect, "step_up", "The decision on an action that waits");
      expectEqual(decision.policy_digest, policy, "The decision's policy");
      return false;
    }
    default:
      return false;
  }
}

function keyOf(step: string, attempt: number, action: string): string {
  return `${step} ${attempt} ${action}`;
}

function admission(evidence: Evidence, first: PlacedEntry): Admitted {
  const data = evidence.events.data(first, "run.admitted");
  const { manifest, key_log } = evidence.bundle;
  expectEqual(data.mode, manifest.mode, "The mode");
  expectEqual(data.installation_id, manifest.installation_id, "The installation");
  const { count, head } = data.key_log;
  if (data.key_epoch > count) throw wrong(`The key epoch is beyond the key log of ${count}.`);
  expectEqual(key_log[count - 1]?.hash, head, "The head of the key log at the run's beginning");
  const { predicate } = evidence.open(data.envelopes.config_snapshot, "config-snapshot", first);
  expectEqual(digestOf(predicate.config), data.config_digest, "The configuration's digest");
  for (const name of ["config_digest", "plan_digest", "policy_digest", "mode"] as const) {
    expectEqual(predicate[name], data[name], `The snapshot's ${name}`);
  }
  if (data.kind !== undefined) {
    expectEqual(predicate.kind ?? "pipeline", data.kind, "The snapshot's kind of run");
  }
  verifyCaller(data, predicate);
  expectEqual(predicate.run_id, manifest.run_id, "The snapshot's run");
  expectEqual(predicate.tenant_id, manifest.tenant_id, "The snapshot's tenant");
  return data;
}

/** Who submitted the run is signed in its configuration. Of other runs the configuration is free. */
function verifyCaller({ caller }: Admitted, { kind, config }: Predicate<"config-snapshot">): void {
  if (caller === undefined && kind !== "goal") return;
  const signed = config["caller"] ?? null;
  if (digestOf(caller ?? null) !== digestOf(signed)) {
    throw wrong("The caller is not the one of the signed configuration.");
  }
}

function verifyAuthorized(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  trace: Trace,
): void {
  const { action, context, decision } = data;
  const { step_id, attempt } = context;
  const { admitted } = trace;
  const { manifest } = evidence.bundle;
  const place = `${step_id} ${attempt}`;
  const again = trace.places.has(place);
  // First, so that a bad authorisation is one failure, and not its outcome's as well.
  trace.open.add(keyOf(step_id, attempt, data.action_digest));
  trace.places.add(place);
  if (again) throw wrong(`Attempt ${attempt} of ${step_id} was authorised before.`);
  expectEqual(digestOf(action), data.action_digest, "The action's digest");
  expectEqual(digestOf(context), data.context_digest, "The context's digest");
  expectEqual(context.run_id, manifest.run_id, "The context's run");
  expectEqual(context.tenant_id, manifest.tenant_id, "The context's tenant");
  expectEqual(context.mode, admitted.mode, "The context's mode");
  expectEqual(context.config_digest, admitted.config_digest, "The context's configuration");
  expectEqual(context.policy_digest, admitted.policy_digest, "The context's policy");
  expectEqual(decision.policy_digest, admitted.policy_digest, "The decision's policy");
  const { tenant_id, role, mode } = context;
  const request = digestOf({ action, tenant_id, role, mode });
  expectEqual(decision.request_digest, request, "The decision's request");
  verifyPermission(decision);
  verifyNames(data, admitted.mode);
  if (admitted.mode === "sovereign") {
    verifyRole(evidence, entry, data, trace.nonces);
    verifyBinding(evidence, entry, data, trace);
  }
  if (decision.effect === "step_up") verifyApprovals(evidence, entry, data, trace.nonces);
}

/** Each envelope that an authorisation names is one that its decision asks for. */
function verifyNames({ envelopes, decision }: Authorized, mode: Admitted["mode"]): void {
  const names = Object.keys(envelopes);
  const approvals = names.filter((name) => name.startsWith("approval_")).length;
  const expected = Array.from({ length: approvals }, (_, at) => `approval_${at + 1}`);
  if (mode === "sovereign") expected.push("role", "binding");
  const [there, wanted] = [new Set(names), new Set(expected)];
  const stray = names.find((name) => !wanted.has(name));
  const missing = expected.find((name) => !there.has(name));
  if (stray !== undefined) throw wrong(`The envelope ${stray} has no place in ${mode} mode.`);
  if (missing !== undefined) throw wrong(`The envelope ${missing} is missing.`);
  if (approvals > 0 && decision.effect !== "step_up") throw wrong("Approvals were not asked for.");
}

function verifyRole(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  nonces: Set<string>,
): void {
  const { predicate } = evidence.open(data.envelopes["role"] ?? "", "role-assignment", entry);
  expectEqual(predicate.role, data.context.role, "The role");
  verifyUse(predicate, entry, data, nonces, "The role signature");
}

function verifyBinding(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  { nonces, decisions }: Trace,
): void {
  const envelope = data.envelopes["binding"] ?? "";
  const { predicate } = evidence.open(envelope, "policy-binding", entry);
  expectEqual(predicate.run_id, data.context.run_id, "The binding's run");
  expectEqual(predicate.tenant_id, data.context.tenant_id, "The binding's tenant");
  expectEqual(predicate.policy_digest, data.decision.policy_digest, "The binding's policy");
  const decision = decisions.get(envelope, () => digestOf(predicate.decision));
  expectEqual(decision, digestOf(data.decision), "The binding's decision");
  verifyUse(predicate, entry, data, nonces, "The binding");
}

/**
 * N of M by distinct holders with distinct keys, each over exactly this action in this context. A
 * holder whose key was rotated in between, and who approves with both, is one holder; so is one of
 * two names that are read as one another, whatever the key log has.
 */
function verifyApprovals(
  evidence: Evidence,
  entry: PlacedEntry,
  data: Authorized,
  nonces: Set<string>,
): void {
  const { required = 1, roles = [] } = data.decision.approvals ?? {};
  const allowed = new Set(roles);
  const holders = new Set<string>();
  const keys = new Set<string>();
  for (const [name, digest] of Object.entries(data.envelopes)) {
    if (!name.startsWith("approval_")) continue;
    const { predicate, keyId } = evidence.open(digest, "approval", entry);
    const { approver } = predicate;
    if (!allowed.has(approver)) throw wrong(`${approver} may not approve this.`);
    verifyUse(predicate, entry, data, nonces, "An approval");
    const holder = holderOf(approver);
    if (holders.has(holder) || keys.has(keyId)) continue;
    holders.add(holder);
    keys.add(keyId);
  }
  if (holders.size < required) {
    throw wrong(`${holders.size} distinct approvers; expected ${required}.`);
  }
}

function verifyGranted(evidence: Evidence, entry: PlacedEntry): void {
  const data = evidence.events.data(entry, "approval.granted");
  const { predicate } = evidence.open(data.envelopes.approval, "approval", entry);
  expectEqual(data.approver, predicate.approver, "The approver");
  expectEqual(data.action_digest, predicate.action_digest, "The approved action");
}

function verifyUse(
  predicate: Pick<
    Predicate<"approval">,
    "action_digest" | "context_digest" | "nonce" | "issued_at" | "expires_at"
  >,
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
