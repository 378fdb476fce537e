import {
  base64Encode,
  canonicalBytes,
  type JsonObject,
  signEnvelope,
  STATEMENT_PAYLOAD_TYPE,
} from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";
import { newSigner } from "../../packages/runtime/test/support/keys.ts";
import { CONSENTED, rebind } from "./authority-rows.ts";
import { all, edit, inEpoch, inside, type Row } from "./row.ts";

/**
 * Consent of the first approver and of one more, whom the root key enrols and the key of bindings has
 * asked for. Everything is signed by the key that it belongs to.
 */
const secondApprover =
  (approver: string) =>
  async (one: Forgery): Promise<void> => {
    const signer = newSigner();
    const { keyId, raw } = signer.publicKey;
    await one.appendKeyEvent("introduced", (statement) => {
      const { key } = statement.predicate;
      const record = { key_id: keyId, public_key: base64Encode(raw), purpose: "approval" };
      statement.predicate["key"] = { ...(key as JsonObject), ...record, role: approver };
      statement.subject = [{ name: "key:approval", digest: { sha256: keyId } }];
    });
    inEpoch(one, one.bundle.key_log.length);
    edit(
      one,
      "execution.authorized",
      (data) => {
        const approvals = { required: 2, roles: ["release_manager", approver] };
        data["decision"] = { ...inside(data, "decision"), approvals };
      },
      CONSENTED,
    );
    const step = await rebind(one);
    const consent = structuredClone(one.statement(step, "approval_2")) as unknown as JsonObject;
    inside(consent, "predicate")["approver"] = approver;
    const bytes = canonicalBytes(consent);
    one.put(step, "approval_2", signEnvelope(STATEMENT_PAYLOAD_TYPE, bytes, [signer]));
  };

/** One person who approves under two names, by key logs that no enrolment looked at. */
export const OF_HOLDERS: readonly Row[] = [
  ...["re1ease-manager", "releasemanager", "re1ease.rnanager"].map((name) =>
    all(`consent of release_manager and of ${name}, two keys of one holder`, secondApprover(name)),
  ),
  // Who holds the root key enrols whom they like; that nobody counts twice is what the rule is for.
  {
    ...all("consent of release_manager and of auditor, enrolled for it", secondApprover("auditor")),
    verdict: "VALID",
  },
];
