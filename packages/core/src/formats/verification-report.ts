import { z } from "zod";
import { count, digest, mode, schemaVersion } from "./common.ts";

export const verdict = z.enum(["VALID", "UNTRUSTED_KEY", "INCOMPLETE", "INVALID"]);
export type Verdict = z.infer<typeof verdict>;

export const stepName = z.enum([
  "hash_chain",
  "merkle_checkpoint",
  "signature_authority_map",
  "policy_resolution_trace",
  "attestation",
  /** Only where a repository was given. */
  "repository_custody",
]);
export type StepName = z.infer<typeof stepName>;

/** One of the steps: how much was checked, and where the first thing went wrong. */
export const verificationStep = z.strictObject({
  name: stepName,
  status: z.enum(["PASS", "FAIL", "INCOMPLETE", "UNTRUSTED", "NOT_RUN"]),
  checked: count,
  passed: count,
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  first_failure: z
    .strictObject({
      /** Such as `entries[7].previous_hash`. */
      place: z.string(),
      code: z.string(),
      message: z.string(),
    })
    .nullable(),
});
export type VerificationStep = z.infer<typeof verificationStep>;

export const verificationReport = z.strictObject({
  format: z.literal("sovereign.verification-report"),
  schema_version: schemaVersion,
  verdict,
  /** The level that the evidence can prove: a compatible run is never proved "sovereign". */
  level: mode.nullable(),
  evidence_sha256: digest,
  trust_root_sha256: digest.nullable(),
  subject: z.strictObject({
    installation_id: z.string().nullable(),
    tenant_id: z.string().nullable(),
    run_id: z.string().nullable(),
    run_status: z.string().nullable(),
  }),
  steps: z.array(verificationStep),
  /** Key id, purpose and role of each key that signed something, with counts. */
  authorities: z.array(
    z.strictObject({
      key_id: digest,
      purpose: z.string(),
      role: z.string().nullable(),
      signatures: count,
      verified: count,
    }),
  ),
  verifier: z.strictObject({ name: z.string(), version: z.string() }),
  /** SHA-256 of the canonical form of all the other fields. */
  attestation_id: digest,
});
export type VerificationReport = z.infer<typeof verificationReport>;
