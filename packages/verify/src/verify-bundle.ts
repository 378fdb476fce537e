import {
  type ComplianceBundle,
  digestOf,
  type Mode,
  sha256Hex,
  SovereignError,
  type Verdict,
  type VerificationReport,
  type VerificationStep,
} from "@sovereign/core";
import { verifyAttestations } from "./attestation.ts";
import { parseBundle } from "./bundle-file.ts";
import { EntryHashes } from "./entry-hashes.ts";
import { Events } from "./events.ts";
import { Evidence, NOTHING_CHECKED, type SignedBy } from "./evidence.ts";
import { verifyHashChain } from "./hash-chain.ts";
import { replayKeyLog } from "./key-log.ts";
import { verifyMerkle } from "./merkle-checkpoint.ts";
import { verifyPolicyTrace } from "./policy-trace.ts";
import { verifySignatures } from "./signatures.ts";
import { verifySourceFile } from "./source-statement.ts";
import { StepRecorder } from "./step-recorder.ts";
import { parseTrustRoot } from "./trust-root.ts";

export const VERIFIER = { name: "sovereign-verify", version: "0.1.0" } as const;

export interface VerifyOptions {
  /** The bytes of `trust-root.json`, from outside the evidence; null gives UNTRUSTED_KEY at best. */
  readonly trustRoot: Uint8Array | null;
  /** The level that the evidence must prove; a compatible run never proves "sovereign". */
  readonly level?: Mode;
  /** The statement about a commit that lies beside the bundle: it has to be the one in it. */
  readonly source?: Uint8Array;
  /** Holds what the bundle says came back against a repository, where one is at hand. */
  readonly custody?: (bundle: ComplianceBundle, step: StepRecorder) => void;
}

/**
 * Verify a compliance bundle, offline.
 *
 * @param bytes untrusted: a bundle as JSON or zip
 * @returns the report; evidence that is wrong is a verdict, never an exception
 * @throws ERR_BUNDLE_MALFORMED when the bytes are no bundle at all, ERR_TRUST_ROOT_MALFORMED
 * @see docs/spec/evidence.md "Verification"
 */
export function verifyBundle(bytes: Uint8Array, options: VerifyOptions): VerificationReport {
  return verifyParsed(parseBundle(bytes), NOTHING_CHECKED, bytes, options);
}

/**
 * The same, with the signatures of a large bundle checked on all cores; the report is the same.
 *
 * @param bytes untrusted
 * @throws as {@link verifyBundle}
 */
export async function verifyBundleOn(
  pool: { check(bundle: ComplianceBundle): Promise<SignedBy> },
  bytes: Uint8Array,
  options: VerifyOptions,
): Promise<VerificationReport> {
  const bundle = parseBundle(bytes);
  return verifyParsed(bundle, await pool.check(bundle), bytes, options);
}

function verifyParsed(
  bundle: ComplianceBundle,
  checked: SignedBy,
  bytes: Uint8Array,
  options: VerifyOptions,
): VerificationReport {
  const trust = options.trustRoot === null ? null : parseTrustRoot(options.trustRoot);
  const chain = new StepRecorder("hash_chain");
  const merkle = new StepRecorder("merkle_checkpoint");
  const signatures = new StepRecorder("signature_authority_map");
  const trace = new StepRecorder("policy_resolution_trace");
  const attestation = new StepRecorder("attestation");

  const read = { hashes: new EntryHashes(), events: new Events() };
  chain.guard("entries", () => {
    verifyHashChain(bundle, read.hashes, chain);
    read.events.verify(bundle, read.hashes, chain);
  });
  const { table, distrusted, heads } = replayKeyLog(bundle, read.events, trust, signatures);
  const evidence = new Evidence(bundle, read, table, distrusted, checked);
  merkle.guard("logs", () => {
    verifyMerkle(evidence, heads, merkle);
  });
  signatures.guard("entries", () => {
    verifySignatures(evidence, signatures);
  });
  trace.guard("entries", () => {
    verifyPolicyTrace(evidence, trace);
  });
  attestation.guard("entries", () => {
    verifyAttestations(evidence, attestation);
  });
  verifySourceFile(evidence, options.source, attestation);
  trace.check("manifest.mode", () => {
    if (bundle.manifest.mode === "compatible" && options.level !== "compatible") {
      throw new SovereignError(
        "ERR_VERIFY_INCOMPLETE",
        "The run was in compatible mode: its actions carry no authority. It can be verified at --level compatible only.",
      );
    }
  });
  const held = [chain, merkle, signatures, trace, attestation];
  const recorders = [...held, ...custodyOf(bundle, options.custody)];
  const steps = recorders.map((step) => step.result());
  const { manifest } = bundle;
  const body: Omit<VerificationReport, "attestation_id"> = {
    format: "sovereign.verification-report",
    schema_version: "1.0.0",
    verdict: verdictOf(steps),
    level: manifest.mode,
    evidence_sha256: sha256Hex(bytes),
    trust_root_sha256: options.trustRoot === null ? null : sha256Hex(options.trustRoot),
    subject: {
      installation_id: manifest.installation_id,
      tenant_id: manifest.tenant_id,
      run_id: manifest.run_id,
      run_status: statusOf(bundle),
    },
    steps,
    authorities: evidence.tallies.map(({ window, signatures: made, verified }) => ({
      key_id: window.record.key_id,
      purpose: window.record.purpose,
      role: window.record.role,
      signatures: made.size,
      verified: verified.size,
    })),
    verifier: VERIFIER,
  };
  return { ...body, attestation_id: digestOf(body) };
}

/** How the run ended. Its last entry alone says so, and only where that is the seal. */
function statusOf({ entries }: ComplianceBundle): string | null {
  const last = entries.at(-1)?.entry;
  const status = last?.event_type === "run.sealed" ? last.data["status"] : null;
  return typeof status === "string" ? status : null;
}

/** Step 6, where a repository was given. */
function custodyOf(bundle: ComplianceBundle, verify: VerifyOptions["custody"]): StepRecorder[] {
  if (verify === undefined) return [];
  const custody = new StepRecorder("repository_custody");
  custody.guard("entries", () => {
    verify(bundle, custody);
  });
  return [custody];
}

/** The worst step decides: INVALID before UNTRUSTED_KEY before INCOMPLETE before VALID. */
function verdictOf(steps: readonly VerificationStep[]): Verdict {
  const has = (status: VerificationStep["status"]): boolean =>
    steps.some((step) => step.status === status);
  if (has("FAIL")) return "INVALID";
  if (has("UNTRUSTED")) return "UNTRUSTED_KEY";
  if (has("INCOMPLETE")) return "INCOMPLETE";
  return "VALID";
}
