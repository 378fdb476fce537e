import { z } from "zod";
import { count, digest, installationId, keyId, schemaVersion, timestamp } from "./common.ts";
import { keyRecord } from "./predicates.ts";

/**
 * What an auditor pins, received outside the evidence. Root keys sign the key log, and none is left
 * where the first was distrusted, because it introduced all others; `key_log.hashes`
 * are the hashes of its entries when this was exported, so that neither a shortened nor another
 * key log passes; `keys` are the windows known then, so that a revocation after a bundle's export
 * is still seen.
 */
export const trustRoot = z.strictObject({
  format: z.literal("sovereign.trust-root"),
  schema_version: schemaVersion,
  installation_id: installationId,
  exported_at: timestamp,
  root_keys: z
    .array(z.strictObject({ key_id: keyId, public_key: keyRecord.shape.public_key }))
    .max(16),
  key_log: z.strictObject({ count, hashes: z.array(digest).max(100_000) }),
  keys: z
    .array(
      z.strictObject({
        ...keyRecord.shape,
        /** Sequence numbers in the key log: valid for epochs in (introduced, ended]. */
        introduced: count,
        ended: count.nullable(),
        ended_by: z.enum(["rotated", "revoked"]).nullable(),
        distrust_all: z.boolean(),
      }),
    )
    .max(100_000),
});
export type TrustRoot = z.infer<typeof trustRoot>;
