import { isSovereignError, type Signer, SovereignError } from "@sovereign/core";
import { notInForce } from "../../authority/index.ts";
import type { Installation } from "../../installation/index.ts";
import { timestampOf } from "../../system/index.ts";

/** Who signs what this installation hands out. @throws ERR_KEYS_MISSING, ERR_KEY_NOT_IN_FORCE */
export async function signerOf(
  { keyLog, keystore, clock }: Installation,
  purpose: "attestation" | "checkpoint",
): Promise<Signer> {
  await keyLog.refresh();
  const keys = keyLog.current();
  if (keys.count === 0) {
    const text =
      "This installation has no keys yet, so there is nothing to back up. Make them with: sovereign keys init";
    throw new SovereignError("ERR_KEYS_MISSING", text);
  }
  const at = timestampOf(clock);
  const windows = keys.valid(purpose, null, keys.count, at);
  for (const { record } of windows.toReversed()) {
    try {
      return await keystore.signer(record.key_id);
    } catch (error) {
      // Its file may not be here; another of the purpose may.
      if (!isSovereignError(error, "ERR_KEY_NOT_FOUND")) throw error;
    }
  }
  const slot = { purpose, role: null } as const;
  throw notInForce(slot, keys, { lost: windows.at(-1), at });
}
