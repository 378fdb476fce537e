import { fields } from "@sovereign/core";
import { z } from "zod";

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
