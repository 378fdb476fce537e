import { z } from "zod";
import { digest, timestamp } from "./common.ts";
import { gitId } from "./exec-evidence.ts";
import { STATEMENT_TYPE } from "./predicates.ts";

/** The predicate type of a verification summary, of builds and of sources. */
export const SOURCE_SUMMARY_TYPE = "https://slsa.dev/verification_summary/v1";

const urn = z.string().max(300).startsWith("urn:sovereign:");
const sourceLevel = z.enum(["SLSA_SOURCE_LEVEL_2", "SLSA_SOURCE_LEVEL_3", "SLSA_SOURCE_LEVEL_4"]);

/**
 * An in-toto Statement v1 about one commit, with a verification summary of the SLSA 1.2 Source track:
 * the fields that we fill. Its subject has a commit's name in the place of a SHA-256.
 */
export const sourceStatement = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([
    z.strictObject({
      /** The run whose evidence says how the commit came about. */
      uri: urn,
      digest: z.strictObject({ gitCommit: gitId, gitTree: gitId }),
      annotations: z.strictObject({
        /** The branch that was moved to the commit; empty where there was none. */
        sourceRefs: z.array(z.string().max(1024)).max(1),
      }),
    }),
  ]),
  predicateType: z.literal(SOURCE_SUMMARY_TYPE),
  predicate: z.strictObject({
    verifier: z.strictObject({ id: urn }),
    timeVerified: timestamp,
    /** The installation that governs the branch: where else the repository is, no entry says. */
    resourceUri: urn,
    policy: z.strictObject({ uri: urn, digest: z.strictObject({ sha256: digest }) }),
    /** The receipt of the gates. */
    inputAttestations: z.tuple([
      z.strictObject({ uri: urn, digest: z.strictObject({ sha256: digest }) }),
    ]),
    verificationResult: z.literal("PASSED"),
    verifiedLevels: z.tuple([sourceLevel]),
    slsaVersion: z.literal("1.2"),
  }),
});
export type SourceStatement = z.infer<typeof sourceStatement>;
