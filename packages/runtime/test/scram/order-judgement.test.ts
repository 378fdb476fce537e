import type { Envelope, Signer } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { judgeOrder, mergeSignatures } from "../../src/scram/index.ts";
import {
  INSTALLATION,
  LATER,
  NOW,
  ScramKeys,
  signOrder,
  signReset,
} from "../support/scram-keys.ts";

const keys = new ScramKeys();
const expired = keys.enrol("architect", "2026-06-01T11:30:00.000Z");
const revoked = keys.enrol("architect");
keys.revoke(revoked, "architect");
const { operator, secondOperator, architect, stranger } = keys;

function judge(envelope: Envelope, now = NOW, usedNonces: string[] = []): string | null {
  const context = { installationId: INSTALLATION, keys: keys.table, now };
  return judgeOrder("scram-order", envelope, { ...context, usedNonces: new Set(usedNonces) }).code;
}

describe("an order", () => {
  it("is authorised by an operator's and an architect's key, in either order", () => {
    expect(judge(signOrder(keys.order(), operator, architect))).toBeNull();
    expect(judge(signOrder(keys.order(), architect, operator))).toBeNull();
    // A further signature takes nothing away, whoever made it.
    expect(judge(signOrder(keys.order(), stranger, operator, revoked, architect))).toBeNull();
  });

  it.each([
    ["one key", [operator]],
    ["one key twice", [operator, operator]],
    ["two operators", [operator, secondOperator]],
    ["two strangers", [stranger, stranger]],
    ["an operator and a stranger", [operator, stranger]],
  ])("is not authorised by %s", (_, signers) => {
    expect(judge(signOrder(keys.order(), ...signers))).toBe("ERR_SCRAM_ORDER_SIGNATURE");
  });

  it.each([
    ["a revoked key", revoked],
    ["an expired key", expired],
  ])("is not authorised by an operator and %s", (_, signer) => {
    expect(judge(signOrder(keys.order(), operator, signer))).toBe("ERR_SCRAM_ORDER_KEY");
  });

  it.each(["alice", "ALICE", " Al ice ", "a-lice", "a.l_i.c-e", "al1ce", "ａｌｉｃｅ", "alicé"])(
    "is not authorised by two keys of one holder, who is called alice and %s",
    (other) => {
      const people = new ScramKeys();
      const first = people.enrol("operator", null, "alice");
      const second = people.enrol("architect", null, other);
      const context = { installationId: INSTALLATION, keys: people.table, now: NOW };
      const judged = (...signers: Signer[]): string | null =>
        judgeOrder("scram-order", signOrder(people.order(), ...signers), {
          ...context,
          usedNonces: new Set(),
        }).code;
      expect(judged(first, second)).toBe("ERR_SCRAM_ORDER_HOLDER");
      // With a third person's signature there are two people, whichever keys the first one used.
      expect(judged(first, second, people.architect)).toBeNull();
      expect(judged(first, second, people.operator)).toBeNull();
      const reset = signReset(people.reset(), first, second);
      const verdict = judgeOrder("scram-reset", reset, { ...context, usedNonces: new Set() });
      expect(verdict.code).toBe("ERR_SCRAM_ORDER_HOLDER");
    },
  );

  it("is good for its installation, in its time, once", () => {
    const good = signOrder(keys.order(), operator, architect);
    expect(judge(good, LATER)).toBe("ERR_SCRAM_ORDER_EXPIRED");
    expect(judge(good, NOW, ["a".repeat(32)])).toBe("ERR_SCRAM_ORDER_REPLAYED");
    const future = keys.order({ issued_at: LATER, expires_at: "2026-06-01T13:00:00.000Z" });
    expect(judge(signOrder(future, operator, architect))).toBe("ERR_SCRAM_ORDER_EXPIRED");
    const backward = keys.order({ issued_at: LATER, expires_at: NOW });
    expect(judge(signOrder(backward, operator, architect))).toBe("ERR_SCRAM_ORDER_EXPIRED");
    const elsewhere = keys.order({ installation_id: `ins_${"j".repeat(20)}` });
    expect(judge(signOrder(elsewhere, operator, architect))).toBe("ERR_SCRAM_ORDER_INSTALLATION");
  });

  it("is not what another statement says, nor what was changed after it was signed", () => {
    expect(judge(signReset(keys.reset(), operator, architect))).toBe("ERR_SCRAM_ORDER_MALFORMED");
    const good = signOrder(keys.order(), operator, architect);
    const narrower = signOrder(keys.order({ scope: { kind: "tenant", tenant_id: "x" } }), operator);
    const forged = { ...narrower, signatures: good.signatures };
    expect(judge(forged)).toBe("ERR_SCRAM_ORDER_SIGNATURE");
    expect(judge({ ...good, payload: "AAAA" })).toBe("ERR_SCRAM_ORDER_MALFORMED");
  });

  it("may be signed by one after the other, over the same bytes", () => {
    const first = signOrder(keys.order(), operator);
    const second = signOrder(keys.order(), architect);
    expect(judge(mergeSignatures(first, second) ?? first)).toBeNull();
    const other = signOrder(keys.order({ nonce: "c".repeat(32) }), architect);
    expect(mergeSignatures(first, other)).toBeNull();
  });
});
