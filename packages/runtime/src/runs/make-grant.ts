import type { Envelope, JsonObject } from "@sovereign/core";
import type { Authority } from "../authority/index.ts";
import type { Pending } from "../kernel/index.ts";
import { type Clock, timestampOf } from "../system/index.ts";

/** The event of consent that stands apart from the action that it permits. */
export const APPROVED = "approval.granted";

/**
 * Sign an approver's consent for the ledger.
 *
 * @returns what its entry says, but for the envelopes' digests and the key epoch
 * @throws ERR_KEY_NOT_FOUND
 */
export async function makeGrant(
  { authority, clock }: { readonly authority: Authority; readonly clock: Clock },
  approver: string,
  { actionDigest, contextDigest }: Pick<Pending, "actionDigest" | "contextDigest">,
): Promise<{ readonly data: JsonObject; readonly envelopes: { readonly approval: Envelope } }> {
  const approval = await authority.issueApproval(approver, actionDigest, contextDigest);
  const data = { approver, action_digest: actionDigest, given_at: timestampOf(clock) };
  return { data, envelopes: { approval } };
}
