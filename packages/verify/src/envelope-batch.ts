import {
  base64Decode,
  type ComplianceBundle,
  type Envelope,
  isSovereignError,
  parsePublicKey,
  parseStatement,
  verifyEnvelope,
} from "@sovereign/core";

/** Envelopes with the public key that each names, raw and in base64. */
export interface EnvelopeBatch {
  readonly envelopes: readonly (readonly [Envelope, string])[];
}

/** One byte an envelope: 1 where that key signed it. */
export interface CheckedEnvelopes {
  readonly good: Uint8Array<ArrayBuffer>;
}

/** An envelope of a bundle, by its digest, and the key that its hint names. */
export interface Claimed {
  readonly digest: string;
  readonly keyId: string;
  readonly envelope: Envelope;
  readonly publicKey: string;
}

/** A signature is good or not, whoever asks: nothing else of an envelope is judged here. */
export function checkEnvelopes({ envelopes }: EnvelopeBatch): CheckedEnvelopes {
  const good = new Uint8Array(envelopes.length);
  for (const [at, [envelope, publicKey]] of envelopes.entries()) {
    good[at] = isSigned(envelope, publicKey) ? 1 : 0;
  }
  return { good };
}

function isSigned(envelope: Envelope, publicKey: string): boolean {
  try {
    verifyEnvelope(envelope, [parsePublicKey(base64Decode(publicKey))]);
    return true;
  } catch (error) {
    if (isSovereignError(error)) return false;
    throw error;
  }
}

/**
 * Which keys the envelopes of a bundle claim. A key's id is a digest of its bytes, so what the key log
 * says of a key need not be believed to know which bytes an id means.
 */
export function* claimedEnvelopes(bundle: ComplianceBundle): Generator<Claimed, void> {
  const keys = new Map<string, string>();
  const named = bundle.key_log.flatMap(({ entry }) =>
    Object.values((entry.data["envelopes"] ?? {}) as Record<string, unknown>),
  );
  // Each once, however often it is named: nothing has said yet that the entries are right.
  for (const digest of new Set(named)) {
    const key = typeof digest === "string" ? keyIn(bundle, digest) : null;
    if (key !== null) keys.set(key[0], key[1]);
  }
  for (const [digest, envelope] of Object.entries(bundle.envelopes)) {
    const keyId = envelope.signatures[0]?.keyid ?? "";
    const publicKey = keys.get(keyId);
    if (publicKey !== undefined) yield { digest, keyId, envelope, publicKey };
  }
}

/** Null for what is no key event: the replay says what is wrong with it. */
function keyIn({ envelopes }: ComplianceBundle, digest: string): [string, string] | null {
  if (!Object.hasOwn(envelopes, digest)) return null;
  try {
    const { payload } = envelopes[digest] as Envelope;
    const { key } = parseStatement(base64Decode(payload), "key-event").predicate;
    return [parsePublicKey(base64Decode(key.public_key)).keyId, key.public_key];
  } catch (error) {
    if (isSovereignError(error)) return null;
    throw error;
  }
}
