import {
  type Approval,
  base64Encode,
  canonicalBytes,
  createStatement,
  digestOf,
  type Envelope,
  type KeyTable,
  predicateType,
  signEnvelope,
  STATEMENT_PAYLOAD_TYPE,
} from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Outcome } from "../../src/kernel/index.ts";
import { newSigner } from "../support/keys.ts";
import { MemoryRecorder, PROMOTE, World } from "../support/world.ts";

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => {
  world.dispose();
});

/**
 * A key log that nobody's enrolment looked at: it has one more approver.
 * @returns the keys, and that approver's consent to the promotion
 */
function withApprover(approver: string): { keys: KeyTable; consent: Envelope } {
  const keys = world.keyLog.current().copy();
  const signer = newSigner();
  const { keyId, raw } = signer.publicKey;
  const issued_at = world.clock.now().toISOString();
  keys.apply({
    installation_id: `ins_${"a".repeat(20)}`,
    sequence: keys.count,
    event: "introduced",
    key: {
      key_id: keyId,
      public_key: base64Encode(raw),
      purpose: "approval",
      role: approver,
      not_before: issued_at,
      not_after: null,
    },
    replaces: null,
    reason: null,
    distrust_all: false,
    issued_at,
  });
  const action_digest = digestOf(PROMOTE);
  const said: Approval = {
    approver,
    action_digest,
    context_digest: digestOf(context()),
    nonce: "5".repeat(32),
    issued_at,
    expires_at: new Date(world.clock.ms + 60_000).toISOString(),
  };
  const subject = [{ name: "action", digest: { sha256: action_digest } }];
  const body = canonicalBytes(createStatement(subject, predicateType("approval"), said));
  return { keys, consent: signEnvelope(STATEMENT_PAYLOAD_TYPE, body, [signer]) };
}

const context = () => world.context({ role: "deployer" });

/** The promotion, by a policy that asks two of three for it. */
async function promote(alias: string, keys: KeyTable, approvals: Envelope[]): Promise<Outcome> {
  const demand = { required: 2, roles: ["release_manager", alias, "safety_officer"] };
  const { policy } = world;
  const decide: typeof policy.decide = (...asked) => ({
    ...policy.decide(...asked),
    approvals: demand,
  });
  const kernel = world.kernel({
    policy: { policyDigest: policy.policyDigest, decide },
    keys: { current: () => keys, refresh: () => Promise.resolve(keys) },
    recorder: new MemoryRecorder(() => keys.count),
  });
  const authorization = await world.authorityFor(decide).issueAuthorization(PROMOTE, context());
  return kernel.execute({ action: PROMOTE, context: context(), approvals, authorization });
}

describe("N of M", () => {
  it.each(["re1ease_manager", "release-manager", "releasemanager", "re1ease.rnanager"])(
    "counts release_manager and %s as one person, whatever the key log has",
    async (alias) => {
      const { keys, consent } = withApprover(alias);
      const own = await world.approve("release_manager", PROMOTE, context());
      for (const both of [
        [own, consent],
        [consent, own],
      ]) {
        const waits = await promote(alias, keys, both);
        expect(waits).toMatchObject({ status: "PENDING", code: "ERR_APPROVAL_REQUIRED" });
        const leftOut = [{ approval: 2, code: "ERR_APPROVAL_REPEATED" }];
        expect(waits).toMatchObject({ leftOut });
      }
      expect(world.effects).toBe(0);
      const other = await world.approve("safety_officer", PROMOTE, context());
      const done = await promote(alias, keys, [consent, other]);
      expect(done).toMatchObject({ status: "COMPLETED" });
    },
  );

  it("counts an approver of another name, enrolled in the same way", async () => {
    const { keys, consent } = withApprover("auditor");
    const own = await world.approve("release_manager", PROMOTE, context());
    const done = await promote("auditor", keys, [own, consent]);
    expect(done).toMatchObject({ status: "COMPLETED" });
  });
});
