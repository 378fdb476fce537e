import {
  type Action,
  type ActionContext,
  type Approval,
  canonicalize,
  type Envelope,
  type ErrorCode,
  holderOf,
  type KeyPurpose,
  type KeyTable,
  type KeyWindow,
  type PolicyDecision,
  type Predicate,
  type PredicateName,
  parseStatement,
  SovereignError,
  type Statement,
  verifyEnvelope,
} from "@sovereign/core";
import type { GivenApproval } from "./request.ts";

/** The signed permission that comes with an action in sovereign mode. */
export interface Authorization {
  readonly role: Envelope;
  readonly binding: Envelope;
}

/** What is being authorised, with its digests, and what it is judged against. */
export interface Subject {
  readonly action: Action;
  readonly context: ActionContext;
  readonly actionDigest: string;
  readonly contextDigest: string;
  readonly decision: PolicyDecision;
  readonly keys: KeyTable;
  /** The time of judgement, a format timestamp. */
  readonly at: string;
}

/** A permission that this authorisation uses up. */
export interface UsedNonce {
  readonly nonce: string;
  readonly expiresAt: string;
}

export type Verdict<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: ErrorCode; readonly reason: string };

interface Codes {
  readonly signature: ErrorCode;
  readonly wrongKey: ErrorCode;
  readonly revoked: ErrorCode;
}

const BINDING_CODES: Codes = {
  signature: "ERR_BINDING_SIGNATURE",
  wrongKey: "ERR_BINDING_WRONG_KEY",
  revoked: "ERR_BINDING_KEY_REVOKED",
};
const ROLE_CODES: Codes = {
  signature: "ERR_ROLE_SIGNATURE",
  wrongKey: "ERR_ROLE_WRONG_KEY",
  revoked: "ERR_ROLE_KEY_REVOKED",
};
const APPROVAL_CODES: Codes = {
  signature: "ERR_APPROVAL_SIGNATURE",
  wrongKey: "ERR_APPROVAL_WRONG_KEY",
  revoked: "ERR_APPROVAL_KEY_REVOKED",
};

/**
 * Judge the role signature and the policy binding of an action.
 *
 * INVARIANT: no effect without a verified, unused, unexpired binding for exactly this action. That
 * the nonces are unused is decided by the commit that records the intent, not here.
 *
 * @returns the nonces that the action uses up, or the first thing wrong
 */
export function checkAuthorization(
  subject: Subject,
  authorization: Authorization | null | { readonly reason: string },
): Verdict<UsedNonce[]> {
  if (authorization === null) {
    return refuse("ERR_BINDING_MISSING", "sovereign mode asks for a policy binding; none came");
  }
  if (!isPermission(authorization)) return refuse("ERR_AUTHORITY_MALFORMED", authorization.reason);
  const role = checkRole(subject, authorization.role);
  if (!role.ok) return role;
  const binding = checkBinding(subject, authorization.binding);
  if (!binding.ok) return binding;
  return { ok: true, value: [role.value, binding.value] };
}

/** Asked of its own fields: what a program put on every object makes nothing of it. */
export function isPermission(
  taken: Authorization | { readonly reason: string },
): taken is Authorization {
  return !Object.hasOwn(taken, "reason");
}

function checkRole(subject: Subject, envelope: Envelope): Verdict<UsedNonce> {
  const { context } = subject;
  const signed = openEnvelope(subject, envelope, "role-assignment", ROLE_CODES, "role");
  if (!signed.ok) return signed;
  const { predicate, window, about } = signed.value;
  if (predicate.role !== context.role) {
    return refuse("ERR_ROLE_CONTEXT", `the signature is for the role ${predicate.role}`);
  }
  if (window.record.role !== predicate.role) {
    return refuse("ERR_ROLE_WRONG_KEY", `the key is enrolled for ${String(window.record.role)}`);
  }
  if (predicate.action_digest !== subject.actionDigest) {
    return refuse("ERR_ROLE_ACTION", "the signature names another action digest");
  }
  if (predicate.context_digest !== subject.contextDigest) {
    return refuse("ERR_ROLE_CONTEXT", "the signature names another context digest");
  }
  const stray = strayAbout(subject, about, `action:${subject.action.type}`);
  if (stray !== null) return stray;
  return inTime(subject, predicate, "ERR_ROLE_EXPIRED");
}

const ANOTHER_DECISION = "another decision: other rules, reasons or approvals";

function checkBinding(subject: Subject, envelope: Envelope): Verdict<UsedNonce> {
  const { context, decision } = subject;
  const signed = openEnvelope(subject, envelope, "policy-binding", BINDING_CODES, "binding");
  if (!signed.ok) return signed;
  const { predicate, about } = signed.value;
  const differs: [boolean, ErrorCode, string][] = [
    [predicate.tenant_id !== context.tenant_id, "ERR_BINDING_TENANT", predicate.tenant_id],
    [predicate.run_id !== context.run_id, "ERR_BINDING_RUN", predicate.run_id],
    [predicate.action_digest !== subject.actionDigest, "ERR_BINDING_ACTION", "another action"],
    [predicate.context_digest !== subject.contextDigest, "ERR_BINDING_CONTEXT", "another context"],
    [predicate.policy_digest !== decision.policy_digest, "ERR_BINDING_POLICY", "another policy"],
    // All of it: who has to approve, and by which rules, was signed too.
    [!isSame(predicate.decision, decision), "ERR_BINDING_POLICY", ANOTHER_DECISION],
  ];
  const first = differs.find(([bad]) => bad);
  if (first !== undefined) return refuse(first[1], `the binding names ${first[2]}`);
  const stray = strayAbout(subject, about, `action:${subject.action.type}`);
  if (stray !== null) return stray;
  return inTime(subject, predicate, "ERR_BINDING_EXPIRED");
}

function isSame(one: PolicyDecision, other: PolicyDecision): boolean {
  return canonicalize(one) === canonicalize(other);
}

/** An approval that counts: whose, and the nonce that it uses up. */
export interface CountedApproval {
  readonly approver: string;
  readonly envelope: Envelope;
  readonly nonce: UsedNonce;
}

/** An approval that does not count: which one of those that came, and why. */
export interface LeftOutApproval {
  /** Its number among those that came, from 1. */
  readonly approval: number;
  readonly code: ErrorCode;
  readonly reason: string;
}

export interface JudgedApprovals {
  readonly counted: readonly CountedApproval[];
  readonly leftOut: readonly LeftOutApproval[];
}

/**
 * Judge the approvals that came with an action. N of M counts people: one approver counts once,
 * whatever keys they have and however their names are spelt, and one key counts once. What is not good is left out and named, so
 * that it neither helps nor stands in the way of those that are.
 */
export function judgeApprovals(
  subject: Subject,
  allowedRoles: readonly string[],
  given: readonly GivenApproval[],
): JudgedApprovals {
  const counted: CountedApproval[] = [];
  const leftOut: LeftOutApproval[] = [];
  /** What approved already, and under which name. */
  const seen = new Map<string, string>();
  for (const [index, one] of given.entries()) {
    const judged = judgeApproval(subject, allowedRoles, one, seen);
    if (judged.ok) counted.push(judged.value);
    else leftOut.push({ approval: index + 1, code: judged.code, reason: judged.reason });
  }
  return { counted, leftOut };
}

function judgeApproval(
  subject: Subject,
  allowedRoles: readonly string[],
  given: GivenApproval,
  seen: Map<string, string>,
): Verdict<CountedApproval> {
  const { envelope } = given;
  if (envelope === null) return refuse("ERR_AUTHORITY_MALFORMED", given.reason);
  const judged = checkApproval(subject, allowedRoles, envelope);
  if (!judged.ok) return judged;
  const { keyId, role, nonce } = judged.value;
  const marks = [`approver:${holderOf(role)}`, `key:${keyId}`, `nonce:${nonce.nonce}`];
  const before = marks.map((mark) => seen.get(mark)).find((name) => name !== undefined);
  if (before !== undefined) {
    const text = `approver:${role} approved already, as ${before}: one person counts once`;
    return refuse("ERR_APPROVAL_REPEATED", text);
  }
  for (const mark of marks) seen.set(mark, role);
  return { ok: true, value: { approver: role, envelope, nonce } };
}

function checkApproval(
  subject: Subject,
  allowedRoles: readonly string[],
  envelope: Envelope,
): Verdict<{ keyId: string; role: string; nonce: UsedNonce }> {
  const signed = openEnvelope(subject, envelope, "approval", APPROVAL_CODES, "approval");
  if (!signed.ok) return signed;
  const { predicate, window, about } = signed.value;
  const role = predicate.approver;
  if (window.record.role !== role || !allowedRoles.includes(role)) {
    return refuse(
      "ERR_APPROVAL_WRONG_KEY",
      `the approver ${role} may not approve this with that key`,
    );
  }
  const place = approvalPlace(subject, predicate) ?? strayAbout(subject, about, "action");
  if (place !== null) return place;
  const nonce = inTime(subject, predicate, "ERR_APPROVAL_EXPIRED");
  if (!nonce.ok) return nonce;
  return { ok: true, value: { keyId: window.record.key_id, role, nonce: nonce.value } };
}

function approvalPlace(subject: Subject, predicate: Approval): Verdict<never> | null {
  if (predicate.action_digest !== subject.actionDigest) {
    return refuse("ERR_APPROVAL_ACTION", "the approval names another action digest");
  }
  if (predicate.context_digest !== subject.contextDigest) {
    return refuse("ERR_APPROVAL_CONTEXT", "the approval names another context digest");
  }
  return null;
}

/** Find the enrolled key that really signed, then ask whether that key may sign this. */
function openEnvelope<K extends PredicateName>(
  subject: Subject,
  envelope: Envelope,
  predicate: K,
  codes: Codes,
  purpose: KeyPurpose,
): Verdict<{ predicate: Predicate<K>; window: KeyWindow; about: Statement["subject"] }> {
  const { keys, at } = subject;
  const { length } = envelope.signatures;
  if (length !== 1) {
    const text = `envelope: signatures: expected one, found ${length}`;
    return refuse("ERR_AUTHORITY_MALFORMED", text);
  }
  const signed = signerOf(envelope, keys);
  if (signed === null) return refuse(codes.signature, "no enrolled key made this signature");
  const { window, body } = signed;
  if (window.record.purpose !== purpose) {
    return refuse(codes.wrongKey, `the key is enrolled for ${window.record.purpose}`);
  }
  const refusal = keys.refusal(window, keys.count, at);
  if (refusal !== null) return refuse(codes.revoked, `key ${window.record.key_id}: ${refusal}`);
  try {
    const { predicate: said, subject: about } = parseStatement(body, predicate);
    return { ok: true, value: { predicate: said, window, about } };
  } catch (error) {
    if (!(error instanceof SovereignError)) throw error;
    return refuse("ERR_AUTHORITY_MALFORMED", error.message);
  }
}

/** What a verifier would refuse later is refused now: a statement is about exactly its action. */
function strayAbout(
  { actionDigest }: Subject,
  about: Statement["subject"],
  name: string,
): Verdict<never> | null {
  const [first, ...others] = about;
  if (others.length === 0 && first?.name === name && first.digest.sha256 === actionDigest) {
    return null;
  }
  const text = `subject: expected one, with the name ${name} and the digest of the action`;
  return refuse("ERR_AUTHORITY_MALFORMED", text);
}

/** `keyid` is only a hint for where to look first: the signature decides. */
function signerOf(
  envelope: Envelope,
  keys: KeyTable,
): { window: KeyWindow; body: Uint8Array } | null {
  const hinted = envelope.signatures.flatMap((one) => keys.get(one.keyid) ?? []);
  for (const windows of [hinted, keys.windows]) {
    for (const window of windows) {
      try {
        return { window, body: verifyEnvelope(envelope, [window.key]).body };
      } catch (error) {
        if (!(error instanceof SovereignError)) throw error;
      }
    }
  }
  return null;
}

function inTime(
  subject: Subject,
  predicate: { nonce: string; issued_at: string; expires_at: string },
  code: ErrorCode,
): Verdict<UsedNonce> {
  const { issued_at, expires_at, nonce } = predicate;
  if (subject.at < issued_at || subject.at > expires_at) {
    return refuse(code, `good from ${issued_at} to ${expires_at}; it is ${subject.at}`);
  }
  return { ok: true, value: { nonce, expiresAt: expires_at } };
}

function refuse(code: ErrorCode, reason: string): { ok: false; code: ErrorCode; reason: string } {
  return { ok: false, code, reason };
}
