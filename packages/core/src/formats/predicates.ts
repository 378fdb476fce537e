import { z } from "zod";
import { policyDecision } from "./action.ts";
import { gateReceipt, releaseReceipt } from "./exec-evidence.ts";
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
  nonce,
  runId,
  timestamp,
} from "./common.ts";
import { killReceipt, scramOrder, scramReset, scramSelfProof } from "./scram.ts";
import { toolResultStatement, toolTaskStatement } from "./tool-packs.ts";
import { traceSeal } from "./trace.ts";

export const keyPurpose = z.enum([
  "root",
  "checkpoint",
  "config",
  "binding",
  "seal",
  "attestation",
  "role",
  "approval",
  "operator",
  "architect",
  "sentinel",
]);
export type KeyPurpose = z.infer<typeof keyPurpose>;

/** Purposes whose keys belong to somebody: the key's `role` says to whom. */
export const NAMED_PURPOSES: readonly KeyPurpose[] = Object.freeze<KeyPurpose[]>([
  "role",
  "approval",
  "operator",
  "architect",
]);

/** One enrolled key. `role` is set for the {@link NAMED_PURPOSES}, else null. */
export const keyRecord = z.strictObject({
  key_id: keyId,
  /** Standard base64 of the 32 raw bytes. */
  public_key: z.string().regex(/^[A-Za-z0-9+/]{43}=$/),
  purpose: keyPurpose,
  role: name.nullable(),
  not_before: timestamp,
  not_after: timestamp.nullable(),
});
export type KeyRecord = z.infer<typeof keyRecord>;

/** Signed by the root key. The event's place in the stream `keys` is its `sequence`. */
export const keyEvent = z.strictObject({
  installation_id: installationId,
  sequence: count,
  event: z.enum(["introduced", "rotated", "revoked"]),
  /** The new key (`introduced`, `rotated`), or the key withdrawn (`revoked`). */
  key: keyRecord,
  /** With `rotated`: the key that ends here. */
  replaces: keyId.nullable(),
  reason: z.string().max(500).nullable(),
  /** With `revoked`: true when nothing that this key ever signed is to be believed. */
  distrust_all: z.boolean(),
  issued_at: timestamp,
});
export type KeyEvent = z.infer<typeof keyEvent>;

/** The configuration that a run runs under, frozen. Signed by the key of purpose `config`. */
export const configSnapshot = z.strictObject({
  tenant_id: name,
  run_id: runId,
  config_digest: digest,
  plan_digest: digest,
  policy_digest: digest,
  mode,
  config: jsonObject,
  /** What kind of plan it is, such as `exec_request`; absent in snapshots from before it stood here. */
  kind: name.exactOptional(),
  /** Who votes in each ballot of the run, and the limits that they judge by. */
  ballots: z
    .record(
      z.string().max(128),
      z.strictObject({ electorate: z.array(name).min(1).max(100), acceptance: json }),
    )
    .exactOptional(),
  issued_at: timestamp,
});
export type ConfigSnapshot = z.infer<typeof configSnapshot>;

/** "I act in this role, for this action, here." Signed by that role's own key. */
export const roleAssignment = z.strictObject({
  role: name,
  action_digest: digest,
  context_digest: digest,
  nonce,
  issued_at: timestamp,
  expires_at: timestamp,
});
export type RoleAssignment = z.infer<typeof roleAssignment>;

/** Permission for one action, once. Signed by the authority's key of purpose `binding`. */
export const policyBinding = z.strictObject({
  tenant_id: name,
  run_id: runId,
  action_digest: digest,
  context_digest: digest,
  policy_digest: digest,
  decision: policyDecision,
  nonce,
  issued_at: timestamp,
  expires_at: timestamp,
});
export type PolicyBinding = z.infer<typeof policyBinding>;

/** One person's consent to exactly one action. Signed by that approver's key. */
export const approval = z.strictObject({
  approver: name,
  action_digest: digest,
  context_digest: digest,
  nonce,
  issued_at: timestamp,
  expires_at: timestamp,
});
export type Approval = z.infer<typeof approval>;

/** One agent's judgement. Signed by that agent's role key; one key, one vote. */
export const vote = z.strictObject({
  run_id: runId,
  /** The step that asked for the votes. */
  ballot: z.string().max(128),
  role: name,
  verdict: z.enum(["approve", "reject"]),
  claims: jsonObject,
  /** SHA-256 of the file that the agent's process wrote. */
  output_digest: digest,
  cast_at: timestamp,
});
export type Vote = z.infer<typeof vote>;

/** The end of a run: nothing may be added, dropped or changed after it. */
export const runProof = z.strictObject({
  tenant_id: name,
  run_id: runId,
  mode,
  /** `halted`: a budget had no room, or something ran of which the ledger has no authorisation. */
  status: z.enum(["completed", "failed", "halted"]),
  reason: z.string().max(2000).nullable(),
  count,
  head: digest,
  /** RFC 6962 root over the run's own entries, in stream order. */
  root: digest,
  plan_digest: digest,
  key_log: z.strictObject({ count, head: digest }),
  artifacts: z.array(artifactRef),
  /** The chain over the run's steps; absent for kinds of runs that seal none. */
  trace: traceSeal.exactOptional(),
  sealed_at: timestamp,
});
export type RunProof = z.infer<typeof runProof>;

/** Proof that a rollback restored earlier bytes, read again from the store after the switch. */
export const rollbackProof = z.strictObject({
  run_id: runId,
  model: name,
  before: digest,
  after: digest,
  restored_digest: digest,
  restored_bytes: count,
  promoted_by_run: runId,
  promoted_at: timestamp,
  proved_at: timestamp,
});
export type RollbackProof = z.infer<typeof rollbackProof>;

/** SLSA Provenance v1, the fields that we fill (slsa.dev/spec/v1.0/provenance). */
export const slsaProvenance = z.strictObject({
  buildDefinition: z.strictObject({
    buildType: z.string(),
    externalParameters: jsonObject,
    internalParameters: jsonObject,
    resolvedDependencies: z.array(
      z.strictObject({ name: z.string(), digest: z.record(z.string(), z.string()) }),
    ),
  }),
  runDetails: z.strictObject({
    builder: z.strictObject({ id: z.string(), version: z.record(z.string(), z.string()) }),
    metadata: z.strictObject({
      invocationId: z.string(),
      startedOn: timestamp,
      finishedOn: timestamp,
    }),
    byproducts: z.array(
      z.strictObject({ name: z.string(), digest: z.record(z.string(), z.string()) }),
    ),
  }),
});
export type SlsaProvenance = z.infer<typeof slsaProvenance>;

/**
 * What a backup holds: the statement's subject is its list of parts, with the digest of each. Signed by
 * the key of purpose `attestation`.
 */
export const backupStatement = z.strictObject({
  installation_id: installationId,
  made_at: timestamp,
  /** Of the key that signed it: without a trust root it shows that nothing was changed, and no more. */
  public_key: keyRecord.shape.public_key,
  /** The program that made it. */
  version: z.string().max(40),
  key_log: z.strictObject({ count, head: digest }),
  logs: count,
  entries: count,
  rows: count,
  files: count,
  parts: count,
  /** Of all parts together. */
  bytes: count,
});
export type BackupStatement = z.infer<typeof backupStatement>;

/**
 * What an archive of old entries holds: the statement's subject is its list of parts, with the digest of
 * each. Signed by the key of purpose `attestation`.
 */
export const archiveStatement = z.strictObject({
  installation_id: installationId,
  tenant_id: name,
  made_at: timestamp,
  public_key: keyRecord.shape.public_key,
  version: z.string().max(40),
  key_log: z.strictObject({ count, head: digest }),
  /** Each of its runs was sealed before. */
  before: timestamp,
  runs: count,
  entries: count,
  envelopes: count,
  /** Of its first and last entry in the log. */
  first_index: count,
  last_index: count,
  /** Over a line for each run: its name, how many entries it has, and the hash of the last. */
  streams: digest,
  parts: count,
  bytes: count,
});
export type ArchiveStatement = z.infer<typeof archiveStatement>;

const PREDICATE_BASE = "urn:sovereign:attestation:";

/** Predicate type → its definition. The one list of what we sign inside statements. */
export const predicates = {
  "key-event": keyEvent,
  "config-snapshot": configSnapshot,
  "role-assignment": roleAssignment,
  "policy-binding": policyBinding,
  approval,
  vote,
  "run-proof": runProof,
  "rollback-proof": rollbackProof,
  "gate-receipt": gateReceipt,
  "release-receipt": releaseReceipt,
  "tool-task": toolTaskStatement,
  "tool-result": toolResultStatement,
  "scram-order": scramOrder,
  "scram-reset": scramReset,
  "kill-receipt": killReceipt,
  "scram-self-proof": scramSelfProof,
  backup: backupStatement,
  archive: archiveStatement,
} as const;
Object.freeze(predicates);

export type PredicateName = keyof typeof predicates;
export type Predicate<K extends PredicateName> = z.infer<(typeof predicates)[K]>;

/** The predicate type URI of one of ours, such as `urn:sovereign:attestation:vote:v1`. */
export function predicateType(predicate: PredicateName): string {
  return `${PREDICATE_BASE}${predicate}:v1`;
}

export const SLSA_PROVENANCE_TYPE = "https://slsa.dev/provenance/v1";

export const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
export const STATEMENT_PAYLOAD_TYPE = "application/vnd.in-toto+json";

/** in-toto Statement v1. Every subject has a SHA-256 digest. */
export const statement = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(
      z.strictObject({ name: z.string().max(300), digest: z.strictObject({ sha256: digest }) }),
    )
    .min(1)
    .max(1000),
  predicateType: z.string().max(300),
  predicate: json,
});
export type Statement = z.infer<typeof statement>;
