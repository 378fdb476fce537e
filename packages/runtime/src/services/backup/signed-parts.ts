import {
  base64Decode,
  type Envelope,
  parseCanonicalJson,
  parseEnvelope,
  parsePublicKey,
  parseStatement,
  type Predicate,
  sha256Hex,
  type TrustRoot,
  verifyEnvelope,
} from "@sovereign/core";
import type { PartsKind } from "./backup-error.ts";
import { MANIFEST, SUMS, sumsOf } from "./parts.ts";

/** @returns the list, once it is that of the parts that were read */
export function checkList(
  sums: ReadonlyMap<string, string>,
  bytes: Buffer,
  kind: PartsKind,
): string {
  const found = sumsOf(sums);
  const said = bytes.toString("latin1");
  if (found === said) return said;
  const lines = said.split("\n");
  const differs = [...sums].find(([name, sha256], at) => lines[at] !== `${sha256}  ${name}`);
  const name = differs?.[0] ?? SUMS;
  throw kind.fault(name, `${SUMS} says another digest, or other parts`);
}

export function parseManifest(bytes: Buffer, kind: PartsKind): Envelope {
  try {
    return parseEnvelope(parseCanonicalJson(bytes));
  } catch (cause) {
    throw kind.fault(MANIFEST, "it is no signed statement", cause);
  }
}

/** By the key that it names itself: whose that is, the trust root says. */
export function openStatement<K extends "backup" | "archive">(
  predicateName: K,
  envelope: Envelope,
  list: string,
  kind: PartsKind,
): { said: Predicate<K>; signer: string } {
  const sums = sha256Hex(Buffer.from(list));
  try {
    const named = parseStatement(base64Decode(envelope.payload), predicateName).predicate;
    const key = parsePublicKey(base64Decode(named.public_key));
    const { body } = verifyEnvelope(envelope, [key]);
    const { subject, predicate } = parseStatement(body, predicateName);
    const [only] = subject;
    if (subject.length === 1 && only?.name === SUMS && only.digest.sha256 === sums) {
      return { said: predicate, signer: key.keyId };
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unreadable";
    throw kind.fault(MANIFEST, `its signature or its words are not good: ${why}`, cause);
  }
  throw kind.fault(SUMS, "it is not the list that was signed");
}

/** A key that the trust root has, of this purpose, which was not withdrawn. */
export function requireTrusted(
  trust: TrustRoot,
  said: Pick<Predicate<"backup">, "installation_id" | "key_log">,
  signer: string,
  kind: PartsKind,
): void {
  const key = trust.keys.find(({ key_id }) => key_id === signer);
  const known = trust.key_log.count;
  const { count } = said.key_log;
  if (key?.purpose !== "attestation" || trust.installation_id !== said.installation_id) {
    throw kind.fault(MANIFEST, "the trust root does not know its key");
  }
  // A key log that grew after the trust root was exported says nothing of what it does not hold.
  const after = key.ended !== null && Math.min(count, known) > key.ended;
  if (key.distrust_all || after || count <= key.introduced) {
    throw kind.fault(MANIFEST, "the key that signed it was not in force");
  }
}
