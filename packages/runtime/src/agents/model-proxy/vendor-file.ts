import { fields } from "@sovereign/core";
import { z } from "zod";

const sealed = z.strictObject({
  protection: z.literal("scrypt-aes-256-gcm"),
  salt: z.string().max(64),
  iv: z.string().max(32),
  tag: z.string().max(32),
  sealed: z.string().max(8192),
});

/** What of a vendor is no secret. */
export const vendorRecord = z.strictObject({
  name: fields.name,
  base_url: z.string().max(500),
  auth: z.enum(["x-api-key", "bearer", "none"]),
  wires: z.array(fields.modelWire).min(1).max(4),
  /** What the table of prices calls it; null to look for the model's name alone. */
  provider: z.string().max(100).nullable(),
  /** Millionths of a dollar for a million tokens, before any table. */
  price: z.strictObject({ input: fields.count, output: fields.count }).nullable(),
  output_field: z.enum(["max_tokens", "max_completion_tokens"]),
  added_at: fields.timestamp,
});
export type VendorRecord = z.infer<typeof vendorRecord>;

/** One vendor at rest: a file of mode 0600. */
export const vendorFile = z.strictObject({
  format: z.literal("sovereign.model-vendor"),
  schema_version: fields.schemaVersion,
  record: vendorRecord,
  secret: z.discriminatedUnion("protection", [
    z.strictObject({ protection: z.literal("absent") }),
    z.strictObject({ protection: z.literal("none"), key: z.string().max(8192) }),
    sealed,
  ]),
});
export type VendorFile = z.infer<typeof vendorFile>;
