import { z } from "zod";

/** A DSSE v1.0.2 JSON envelope. `payload` and `sig` are standard base64 with padding. */
export const envelope = z.strictObject({
  payloadType: z.string().min(1).max(200),
  payload: z.string().max(1_400_000),
  signatures: z
    .array(z.strictObject({ keyid: z.string().max(64), sig: z.string().max(100) }))
    .min(1)
    .max(32),
});
