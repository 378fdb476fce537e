import { z } from "zod";
import { apiCaller } from "./api.ts";
import { action, actionContext, policyDecision, usage } from "./action.ts";
import {
  artifactRef,
  count,
  digest,
  installationId,
  json,
  jsonObject,
  keyId,
  mode,
  name,
  timestamp,
} from "./common.ts";
import {
  egressClosed,
  egressConnected,
  egressRefused,
  llmCalled,
  llmDenied,
  llmReserved,
} from "./model-call.ts";

/** The most bytes that one action, or one recorded output, has in canonical form. */
export const ACTION_BYTES_MAX = 24 * 1024;

/** Envelopes that an entry speaks of, by name; the digest is over the envelope's canonical form. */
const envelopes = z.record(z.string().regex(/^[a-z][a-z0-9_]{0,40}$/), digest);

const keyLogHead = z.strictObject({ count, head: digest });
export type KeyLogHead = z.infer<typeof keyLogHead>;

const executionPlace = {
  step_id: actionContext.shape.step_id,
  attempt: actionContext.shape.attempt,
  action_digest: digest,
};

/** Of a tenant's claim that was handed out; the secret is in no entry. */
const tenantClaim = z.strictObject({ tenant_id: name, generation: count });

/** Further fields may stand beside these in a later release; nothing reads them. */
const refusal = z.looseObject({
  ...executionPlace,
  code: z.string().max(80),
  reason: z.string().max(2000),
});

/** A fault of a voter, as `docs/spec/evidence.md` defines each kind. */
const fault = z.strictObject({
  role: name,
  key_ids: z.array(keyId),
  envelopes: z.array(digest),
  kind: z.enum([
    "outsider",
    "equivocation",
    "key_reused",
    "contradicts_known",
    "claims_malformed",
    "contradicts_itself",
    "differs_from_quorum",
  ]),
  differs: z.array(z.strictObject({ claim: z.string(), claimed: json, expected: json })).max(16),
});

/** The judgement of a ballot. A verifier makes it again from the signed votes. */
const consensus = z.strictObject({
  ballot: z.string().max(128),
  status: z.enum([
    "SOVEREIGN_CONSENSUS_REACHED",
    "SOVEREIGN_CONSENSUS_REFUSED",
    "BYZANTINE_ATTACK_DETECTED",
    "QUORUM_FAILURE_DRIFT_DETECTED",
  ]),
  electorate: z.array(name).min(1),
  quorum: count,
  approvals: z.array(name),
  rejections: z.array(name),
  claims: jsonObject.nullable(),
  claims_digest: digest.nullable(),
  faulty: z.array(fault),
  silent: z.array(name),
});

const keyEvent = z.strictObject({ envelopes: z.strictObject({ key_event: digest }) });

/** What somebody says of an incident, in the tenant's stream `operations`. */
const incidentWord = z.looseObject({
  incident_id: z.string().regex(/^inc_[0-9a-f]{20}$/),
  /** Who says so, by the name that they gave. */
  by: z.string().max(200),
});

/**
 * What `data` holds, for the events that a verifier reads. Events of other nouns are free in their
 * data, but name no envelopes. `key_epoch` is the count of the key log when the signatures were
 * made: evidence is judged by the keys that were valid there.
 */
export const entryData = {
  "run.admitted": z.strictObject({
    name,
    /** What is run, such as `pipeline`; absent in runs from before it stood here. */
    kind: name.exactOptional(),
    /** Who submitted it; absent for whoever typed a command on the machine. */
    caller: apiCaller.exactOptional(),
    mode,
    installation_id: installationId,
    plan_digest: digest,
    config_digest: digest,
    policy_digest: digest,
    key_log: keyLogHead,
    key_epoch: count,
    envelopes: z.strictObject({ config_snapshot: digest }),
  }),
  "execution.authorized": z.strictObject({
    action,
    context: actionContext,
    action_digest: digest,
    context_digest: digest,
    decision: policyDecision,
    key_epoch: count,
    /** `role` and `binding`, and `approval_1` … where policy asked; none in compatible mode. */
    envelopes,
    /** The most that the attempt uses, which budgets hold until its end. Only of goals. */
    reserved: z
      .strictObject({ agent: z.string().max(127), microusd: count, tokens: count, ms: count })
      .exactOptional(),
  }),
  "execution.completed": z.strictObject({
    ...executionPlace,
    artifacts: z.array(artifactRef),
    usage,
    output: json,
  }),
  /** Files of evidence that are no action's own output. */
  "evidence.recorded": z.strictObject({ artifacts: z.array(artifactRef) }),
  "execution.denied": refusal.extend({ decision: policyDecision, action }),
  "execution.pending": refusal.extend({
    decision: policyDecision,
    context_digest: digest,
    approved_by: z.array(name),
  }),
  "execution.blocked": refusal,
  "execution.aborted": refusal,
  "execution.killed": refusal,
  "execution.failed": refusal,
  "execution.unavailable": refusal.extend({ effectRan: z.boolean() }),
  /** An approval that was given apart from the process that runs. */
  "approval.granted": z.looseObject({
    approver: name,
    action_digest: digest,
    key_epoch: count,
    envelopes: z.strictObject({ approval: digest }),
    given_at: timestamp,
  }),
  "attestation.issued": z.looseObject({
    predicate_type: z.string(),
    key_epoch: count,
    envelopes,
    /** The ballot of votes, the stage of a provenance or rollback, the status of a gate receipt. */
    ballot: z.string().max(128).optional(),
    stage: z.string().max(128).optional(),
    status: z.enum(["PASS", "FAIL"]).optional(),
  }),
  "consensus.reached": consensus,
  "consensus.failed": consensus,
  "agent.abstained": z.looseObject({ role: name, reason: z.string().max(500) }),
  "run.suspended": z.looseObject({
    reason: z.string().max(4000),
    /** Somebody asked that the worker which takes it next does a step anew whose end nobody knows. */
    retry_failed: z.literal(true).exactOptional(),
  }),
  "run.resumed": z.looseObject({ from: z.string().max(80) }),
  /** In the tenant's stream `operations`: somebody wants the run to end. */
  "run.cancel_requested": z.looseObject({ by: z.string().max(200), reason: z.string().max(1000) }),
  "run.sealed": z.strictObject({
    /** How many entries stand before this one in the stream, and the hash of the last of them. */
    count,
    head: digest,
    status: z.enum(["completed", "failed", "halted"]),
    key_log: keyLogHead,
    key_epoch: count,
    envelopes: z.strictObject({ run_proof: digest }),
  }),
  /** A step of a plan that its own condition, or a step that it needs, left out. */
  "step.skipped": z.looseObject({
    step_id: actionContext.shape.step_id,
    skill: z.string().max(100),
    reason: z.string().max(2000),
    /** Why it could not be done; absent where the plan's own condition left it out. */
    code: z.string().max(80).exactOptional(),
  }),
  /** Something that a person has to look at. */
  "incident.raised": z.looseObject({
    kind: z.string().max(60),
    summary: z.string().max(2000),
    step_id: actionContext.shape.step_id.exactOptional(),
    /** What it is about: raised again with the same kind and subject, it is the same incident. */
    subject: z.string().max(400).optional(),
  }),
  "incident.acknowledged": incidentWord,
  "incident.resolved": incidentWord.extend({ note: z.string().max(2000) }),
  /** Limits of a tenant, an agent or a run, in the tenant's stream `operations`. Null for none. */
  "budget.set": z.looseObject({
    scope: z.enum(["tenant_month", "agent_day"]),
    subject: z.string().max(127),
    microusd: count.nullable(),
    tokens: count.nullable(),
    steps: count.nullable(),
    ms: count.nullable(),
    by: z.string().max(200),
  }),
  "llm.reserved": llmReserved,
  "llm.called": llmCalled,
  "llm.denied": llmDenied,
  "egress.connected": egressConnected,
  "egress.closed": egressClosed,
  "egress.refused": egressRefused,
  "key.introduced": keyEvent,
  "key.rotated": keyEvent,
  "key.revoked": keyEvent,
  "ledger.claim_issued": tenantClaim,
  "ledger.claim_replaced": tenantClaim,
} as const;
Object.freeze(entryData);

export type EventName = keyof typeof entryData;
export type EntryData<K extends EventName> = z.infer<(typeof entryData)[K]>;
