import {
  base64Encode,
  digestOf,
  type Envelope,
  type KeyPurpose,
  KeyTable,
  predicateType,
  type ScramOrder,
  type ScramReset,
  type Signer,
} from "@sovereign/core";
import { signStatement } from "../../src/authority/index.ts";
import { newSigner } from "./keys.ts";

export const INSTALLATION = `ins_${"i".repeat(20)}`;
export const NOW = "2026-06-01T12:00:00.000Z";
export const LATER = "2026-06-01T12:05:00.000Z";
export const BEFORE = "2026-06-01T11:00:00.000Z";

/** Keys of the kill switch, and a table in which they are enrolled. */
export class ScramKeys {
  readonly table = new KeyTable();
  readonly #holders = new Map<string, string>();
  readonly operator = this.enrol("operator");
  readonly secondOperator = this.enrol("operator");
  readonly architect = this.enrol("architect");
  readonly stranger = newSigner();

  /** @param holder whose key it is; without it, somebody else's than all others */
  enrol(purpose: KeyPurpose, notAfter: string | null = null, holder?: string): Signer {
    const signer = newSigner();
    const name = holder ?? `holder.${"abcdefghjkmnpq"[this.#holders.size] ?? "z"}`;
    this.#holders.set(signer.publicKey.keyId, name);
    this.#apply("introduced", signer, purpose, notAfter);
    return signer;
  }

  revoke(signer: Signer, purpose: KeyPurpose): void {
    this.#apply("revoked", signer, purpose, null);
  }

  order(change: Partial<ScramOrder> = {}): ScramOrder {
    return {
      installation_id: INSTALLATION,
      order_id: `ord_${"o".repeat(20)}`,
      nonce: "a".repeat(32),
      scope: { kind: "all" },
      reason: "operator_initiated",
      statement: null,
      metadata: {},
      issued_at: NOW,
      expires_at: LATER,
      ...change,
    };
  }

  reset(change: Partial<ScramReset> = {}): ScramReset {
    return {
      installation_id: INSTALLATION,
      reset_id: `rst_${"r".repeat(20)}`,
      nonce: "b".repeat(32),
      event_ids: [`SCRAM-${"1".repeat(20)}`],
      statement: "all clear",
      issued_at: NOW,
      expires_at: LATER,
      ...change,
    };
  }

  #apply(
    event: "introduced" | "revoked",
    { publicKey }: Signer,
    purpose: KeyPurpose,
    notAfter: string | null,
  ): void {
    this.table.apply({
      installation_id: INSTALLATION,
      sequence: this.table.count,
      event,
      key: {
        key_id: publicKey.keyId,
        public_key: base64Encode(publicKey.raw),
        purpose,
        role: this.#holders.get(publicKey.keyId) ?? "nobody",
        not_before: BEFORE,
        not_after: notAfter,
      },
      replaces: null,
      reason: null,
      distrust_all: false,
      issued_at: BEFORE,
    });
  }
}

export function signOrder(order: ScramOrder, ...signers: readonly Signer[]): Envelope {
  const subject = { name: order.order_id, sha256: digestOf(order) };
  return signStatement([subject], predicateType("scram-order"), order, ...signers);
}

export function signReset(reset: ScramReset, ...signers: readonly Signer[]): Envelope {
  const subject = { name: reset.reset_id, sha256: digestOf(reset) };
  return signStatement([subject], predicateType("scram-reset"), reset, ...signers);
}
