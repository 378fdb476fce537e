import { z } from "zod";
import {
  artifactRef,
  count,
  digest,
  installationId,
  jsonObject,
  mode,
  name,
  runId,
  schemaVersion,
} from "./common.ts";
import { placedEntry } from "./entry.ts";
import { envelope } from "./envelope.ts";
import { traceHead, traceSeal, traceStep } from "./trace.ts";

/** A log's signed head, with the proof that the bundle's entries of that log are under it. */
const logEvidence = z.strictObject({
  origin: z.string().min(1).max(300),
  /** A C2SP checkpoint: a signed note. */
  checkpoint: z.string().max(4096),
  /** Set inclusion proof (see `docs/spec/merkle.md`), hex, in canonical order. */
  proof: z.array(digest),
});

/**
 * Everything that an auditor needs but the trust root, which must come from elsewhere. The file is
 * canonical JSON, so one bundle has one spelling; exporting a sealed run twice gives equal bytes.
 */
export const complianceBundle = z.strictObject({
  format: z.literal("sovereign.compliance-bundle"),
  schema_version: schemaVersion,
  manifest: z.strictObject({
    installation_id: installationId,
    tenant_id: name,
    run_id: runId,
    mode,
    counts: z.strictObject({ entries: count, key_log: count, envelopes: count, artifacts: count }),
    /** SHA-256 of the canonical form of each section. */
    sections: z.strictObject({
      entries: digest,
      key_log: digest,
      envelopes: digest,
      artifacts: digest,
      logs: digest,
      goal: digest.exactOptional(),
    }),
  }),
  /** The run's stream, whole, in order. */
  entries: z.array(placedEntry),
  /** The stream `keys` of the installation's log, from its start, in order. */
  key_log: z.array(placedEntry),
  /** By digest of the canonical form. */
  envelopes: z.record(digest, envelope),
  logs: z.strictObject({ tenant: logEvidence, installation: logEvidence }),
  artifacts: z.array(
    z.strictObject({
      ...artifactRef.shape,
      /** Standard base64 of the bytes, with `--with-artifacts`. */
      content: z.string().optional(),
    }),
  ),
  /** Of a goal: its plan, its steps, and what they come to. A verifier makes all of it again. */
  goal: z
    .strictObject({
      plan: jsonObject,
      trace: traceHead,
      steps: z.array(traceStep),
      integrity: traceSeal,
    })
    .exactOptional(),
});
export type ComplianceBundle = z.infer<typeof complianceBundle>;
