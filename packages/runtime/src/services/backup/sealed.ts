import { canonicalBytes, fields, parseCanonicalJson, parseFormat } from "@sovereign/core";
import { z } from "zod";
import { type Passphrase, SecretBox } from "../../authority/index.ts";
import { unreadableBackup } from "./backup-error.ts";
import { PART_BYTES_MAX } from "./tar.ts";
import { SEALED } from "./parts.ts";

/**
 * Whoever reads these tables can write as every tenant: the secret of all claims, and what is derived from
 * it. A table of secrets that comes later is named so.
 */
export function isSecretTable(table: string): boolean {
  return /secret/.test(table) || table === "claim_keys";
}

const sealedFormat = z.strictObject({
  installation_id: fields.installationId,
  protection: z.literal("scrypt-aes-256-gcm"),
  salt: z.string().max(64),
  iv: z.string().max(32),
  tag: z.string().max(32),
  sealed: z.string(),
});

const secretsFormat = z.strictObject({
  format: z.literal("sovereign.backup-secrets"),
  schema_version: fields.schemaVersion,
  others: fields.digest,
  files: z
    .array(
      z.strictObject({
        path: z.string().min(1).max(4096),
        executable: z.boolean(),
        content: z.string(),
      }),
    )
    .max(100_000),
  tables: z.record(z.string(), z.array(z.string())),
});
export type BackupSecrets = z.infer<typeof secretsFormat>;

/** What the secrets belong to: they open with nothing else. */
export function sealedContext(installationId: string): Uint8Array {
  return canonicalBytes({ format: "sovereign.backup-secrets", installation_id: installationId });
}

/**
 * @param bytes untrusted
 * @throws ERR_KEY_PASSPHRASE where the passphrase does not open them, ERR_BACKUP_INVALID
 */
export async function openSecrets(
  bytes: Uint8Array,
  passphrase: Passphrase,
): Promise<BackupSecrets> {
  const limits = { bytesMax: PART_BYTES_MAX };
  let sealed: z.infer<typeof sealedFormat>;
  try {
    sealed = parseFormat(sealedFormat, parseCanonicalJson(bytes, limits), SEALED);
  } catch (cause) {
    throw unreadableBackup(SEALED, "it is no sealed part", cause);
  }
  const { installation_id: id, ...secret } = sealed;
  const box = new SecretBox(passphrase);
  const opened = await box.openBytes(secret, sealedContext(id), "The backup's sealed part");
  try {
    return parseFormat(secretsFormat, parseCanonicalJson(opened, limits), SEALED);
  } catch {
    // The cause may quote what was sealed.
    throw unreadableBackup(SEALED, "what it holds is of no known form");
  }
}
