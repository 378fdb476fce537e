import { z } from "zod";
import {
  count,
  digest,
  installationId,
  json,
  jsonObject,
  mode,
  name,
  runId,
  streamName,
  timestamp,
} from "./common.ts";
import { action, actionContext, policyDecision, usage } from "./action.ts";
import { artifactRef } from "./common.ts";

/** The hash that a stream's first entry names as its predecessor. */
export const GENESIS_HASH = "0".repeat(64);

/** The most bytes that one entry's canonical form may have (C2SP tlog-tiles entry limit). */
export const ENTRY_BYTES_MAX = 65_535;

export const severity = z.enum(["INFO", "WARNING", "ERROR", "CRITICAL"]);
export type Severity = z.infer<typeof severity>;

/** noun.past, such as `run.admitted`. */
export const eventType = z.string().regex(/^[a-z][a-z0-9_]{0,40}\.[a-z][a-z0-9_]{0,40}$/);

/** The hashed part of a ledger entry: `hash` is the SHA-256 of its canonical form. */
export const ledgerEntry = z.strictObject({
  stream: streamName,
  /** From 0, without gaps. */
  sequence: count,
  timestamp,
  event_type: eventType,
  severity,
  tenant_id: name,
  run_id: runId.nullable(),
  data: jsonObject,
  previous_hash: digest,
});
export type LedgerEntry = z.infer<typeof ledgerEntry>;

/** An entry with its place: `index` is the leaf's number in the log's Merkle tree. */
export const placedEntry = z.strictObject({ index: count, hash: digest, entry: ledgerEntry });
export type PlacedEntry = z.infer<typeof placedEntry>;

/** Envelopes that an entry speaks of, by name; the digest is over the envelope's canonical form. */
const envelopes = z.record(z.string().regex(/^[a-z][a-z0-9_]{0,40}$/), digest);

const keyLogHead = z.strictObject({ count, head: digest });
export type KeyLogHead = z.infer<typeof keyLogHead>;

const executionPlace = {
  step_id: actionContext.shape.step_id,
  attempt: actionContext.shape.attempt,
  action_digest: digest,
};

const refusal = z.looseObject({
  ...executionPlace,
  code: z.string().max(80),
  reason: z.string().max(2000),
});

/**
 * What `data` holds, for the events that a verifier reads. Other events are free in their data.
 * `key_epoch` is the count of the key log when the signatures were made: evidence is judged by the
 * keys that were valid there.
 */
export const entryData = {
  "run.admitted": z.strictObject({
    name,
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
  }),
  "execution.completed": z.strictObject({
    ...executionPlace,
    artifacts: z.array(artifactRef),
    usage,
    output: json,
  }),
  /** Files of evidence that are no action's own output. */
  "evidence.recorded": z.strictObject({ artifacts: z.array(artifactRef) }),
  "execution.denied": refusal,
  "execution.pending": refusal,
  "execution.blocked": refusal,
  "execution.aborted": refusal,
  "execution.killed": refusal,
  "execution.failed": refusal,
  "attestation.issued": z.looseObject({
    predicate_type: z.string(),
    key_epoch: count,
    envelopes,
  }),
  "run.sealed": z.strictObject({
    /** How many entries stand before this one in the stream, and the hash of the last of them. */
    count,
    head: digest,
    status: z.enum(["completed", "failed"]),
    key_log: keyLogHead,
    key_epoch: count,
    envelopes: z.strictObject({ run_proof: digest }),
  }),
  "key.introduced": z.strictObject({ envelopes: z.strictObject({ key_event: digest }) }),
  "key.rotated": z.strictObject({ envelopes: z.strictObject({ key_event: digest }) }),
  "key.revoked": z.strictObject({ envelopes: z.strictObject({ key_event: digest }) }),
} as const;

export type EntryData<K extends keyof typeof entryData> = z.infer<(typeof entryData)[K]>;
