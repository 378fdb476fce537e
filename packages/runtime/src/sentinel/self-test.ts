import {
  base64Decode,
  base64Encode,
  canonicalBytes,
  createStatement,
  digestOf,
  type Envelope,
  KeyTable,
  parsePublicKey,
  predicateType,
  STATEMENT_PAYLOAD_TYPE,
} from "@sovereign/core";
import { judgeOrder } from "../scram/index.ts";

/** Public keys and signatures of a known order. The private keys were thrown away. */
const OPERATOR = "zlKWy+FWNVvIBv96LXydVaxKpj3wHHS+FJX3NkfzZ8k=";
const ARCHITECT = "JCkiKhAvMsBwcpJnAQuDSHRf6KaeNMDiA+3vdTKg7Ds=";
const SIGNATURES = [
  "Ndjb9nnlpLkrr5/hUlA2Ell/YDUOkoQAGkcq90slULOlytS3WpjC9Pc5jaKA+3OpFr6QXwzwxE4gqY/+tniIBQ==",
  "wUeiXkebOSUFqvqjb9bE+w8z86ybzVUBpMlWk/2MMmOd6tMFB06xYbI5cz/0R/26TFZewamQuzi2GIx00mPaAg==",
];
const ISSUED_AT = "2026-01-01T00:00:00.000Z";
const ORDER = {
  installation_id: `ins_${"t".repeat(20)}`,
  order_id: `ord_${"t".repeat(20)}`,
  nonce: "0".repeat(32),
  scope: { kind: "all" },
  reason: "operator_initiated",
  statement: "known-answer test",
  metadata: {},
  issued_at: ISSUED_AT,
  expires_at: "2026-01-01T00:05:00.000Z",
};

/**
 * A known-answer test of the way of an order, from bytes to judgement.
 *
 * It is run at the start and every second after. A sentinel that waits for weeks keeps its code in
 * memory and compiled that way, and one that could no longer judge an order says so at once.
 *
 * @returns true when a good order is authorised, and one with a flipped bit or of one person is not
 */
export function passesSelfTest(): boolean {
  return (
    authorised(SIGNATURES) &&
    !authorised([...SIGNATURES].reverse().map(flipped)) &&
    !authorised(SIGNATURES, ["one", "one"])
  );
}

function authorised(signatures: readonly string[], holders = ["one", "another"]): boolean {
  const subject = { name: ORDER.order_id, digest: { sha256: digestOf(ORDER) } };
  const statement = createStatement([subject], predicateType("scram-order"), ORDER);
  const envelope: Envelope = {
    payloadType: STATEMENT_PAYLOAD_TYPE,
    payload: base64Encode(canonicalBytes(statement)),
    signatures: signatures.map((sig) => ({ keyid: "", sig })),
  };
  const { code } = judgeOrder("scram-order", envelope, {
    installationId: ORDER.installation_id,
    keys: knownKeys(holders),
    now: ISSUED_AT,
    usedNonces: new Set(),
  });
  return code === null;
}

function knownKeys(holders: readonly string[]): KeyTable {
  const keys = new KeyTable();
  for (const [sequence, public_key] of [OPERATOR, ARCHITECT].entries()) {
    keys.apply({
      installation_id: ORDER.installation_id,
      sequence,
      event: "introduced",
      key: {
        key_id: parsePublicKey(base64Decode(public_key)).keyId,
        public_key,
        purpose: sequence === 0 ? "operator" : "architect",
        role: holders[sequence] ?? "",
        not_before: ISSUED_AT,
        not_after: null,
      },
      replaces: null,
      reason: null,
      distrust_all: false,
      issued_at: ISSUED_AT,
    });
  }
  return keys;
}

function flipped(signature: string): string {
  const bytes = base64Decode(signature);
  return base64Encode(bytes.map((byte, index) => (index === 7 ? byte ^ 1 : byte)));
}
