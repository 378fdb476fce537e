import type { z } from "zod";
import { base64Decode, base64Encode, concatBytes, utf8Encode } from "../bytes/index.ts";
import { checkSignature, type PublicKey, type Signer } from "../ed25519/index.ts";
import { isSovereignError, SovereignError } from "../errors/index.ts";
import { envelope as envelopeFormat } from "../formats/envelope.ts";
import { parseFormat } from "../formats/parse.ts";
import { STATEMENT_PAYLOAD_TYPE } from "../formats/predicates.ts";
import { parseStrictJson } from "../json/index.ts";

/** A DSSE v1.0.2 JSON envelope. Nothing in it is to be believed before {@link verifyEnvelope}. */
export type Envelope = z.infer<typeof envelopeFormat>;

/** What was signed, and by which of the given keys. */
export interface VerifiedEnvelope {
  readonly body: Uint8Array;
  readonly signers: readonly PublicKey[];
}

/**
 * Pre-authentication encoding: the bytes that are signed.
 * @see DSSE v1.0.2, protocol.md "Signature Definition"; lengths count bytes
 */
export function pae(payloadType: string, body: Uint8Array): Uint8Array {
  const type = utf8Encode(payloadType);
  return concatBytes(
    utf8Encode(`DSSEv1 ${type.length} `),
    type,
    utf8Encode(` ${body.length} `),
    body,
  );
}

/** Sign a body with one or more keys. */
export function signEnvelope(
  payloadType: string,
  body: Uint8Array,
  signers: readonly Signer[],
): Envelope {
  const message = pae(payloadType, body);
  return {
    payloadType,
    payload: base64Encode(body),
    signatures: signers.map((signer) => ({
      keyid: signer.publicKey.keyId,
      sig: base64Encode(signer.sign(message)),
    })),
  };
}

/** @throws ERR_ENVELOPE_MALFORMED, or an ERR_JSON code for bytes that are not JSON */
export function parseEnvelope(input: unknown): Envelope {
  const value = input instanceof Uint8Array ? parseStrictJson(input) : input;
  return parseFormat(envelopeFormat, value, "envelope", "ERR_ENVELOPE_MALFORMED");
}

/**
 * Verify that enough of the given keys signed the envelope.
 *
 * Distinct keys are counted: the same signature twice, or one key under two names, counts once.
 * `keyid` is not looked at: it is a hint that an attacker may write.
 *
 * @param keys the keys that may sign; chosen by the caller, never by the envelope
 * @param threshold how many of them must have signed, at least 1
 * @param payloadType what must have been signed: bytes that are signed as something else say nothing
 * @throws ERR_ENVELOPE_SIGNATURE, ERR_ENVELOPE_MALFORMED
 */
export function verifyEnvelope(
  envelope: Envelope,
  keys: readonly PublicKey[],
  threshold = 1,
  payloadType: string = STATEMENT_PAYLOAD_TYPE,
): VerifiedEnvelope {
  if (!Number.isInteger(threshold) || threshold < 1) throw new RangeError("threshold below 1");
  // Each is read once: what a getter answers the next time was not signed.
  const { payloadType: type, payload, signatures: given } = envelope;
  if (type !== payloadType) {
    throw new SovereignError(
      "ERR_ENVELOPE_MALFORMED",
      `Expected the payload type ${payloadType}, found ${type}.`,
    );
  }
  const body = decode(payload);
  const message = pae(payloadType, body);
  const signatures = given.map(({ sig }) => decode(sig));
  const distinct = new Map(keys.map((key) => [key.keyId, key]));
  const signers = [...distinct.values()].filter((key) =>
    signatures.some((signature) => checkSignature(key, message, signature)),
  );
  if (signers.length < threshold) {
    throw new SovereignError(
      "ERR_ENVELOPE_SIGNATURE",
      `Expected ${threshold} of ${distinct.size} keys to have signed, found ${signers.length}.`,
      { threshold, found: signers.length },
    );
  }
  return { body, signers };
}

function decode(text: string): Uint8Array {
  try {
    return base64Decode(text);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    throw new SovereignError("ERR_ENVELOPE_MALFORMED", "The envelope holds what is not base64.");
  }
}
