import type { StepName } from "@sovereign/core";

/** What people call the steps, in their order. */
export const STEP_TITLES: Readonly<Record<StepName, string>> = {
  hash_chain: "Hash chain",
  merkle_checkpoint: "Merkle tree and checkpoints",
  signature_authority_map: "Signature authority map",
  policy_resolution_trace: "Policy resolution trace",
  attestation: "Attestation",
  repository_custody: "Chain of custody in the repository",
};
