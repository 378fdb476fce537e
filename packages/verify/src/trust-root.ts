import {
  base64Decode,
  formats,
  NAMED_PURPOSES,
  parseFormat,
  parsePublicKey,
  parseStrictJson,
  SovereignError,
  type TrustRoot,
} from "@sovereign/core";

/** How large a trust root may be. */
export const TRUST_ROOT_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Read a trust root. Whoever made it by hand, or damaged it, is told so: nothing is verified against
 * a trust root that contradicts itself.
 *
 * @throws ERR_TRUST_ROOT_MALFORMED
 */
export function parseTrustRoot(bytes: Uint8Array): TrustRoot {
  try {
    const value = parseStrictJson(bytes, { bytesMax: TRUST_ROOT_BYTES_MAX });
    const trust = parseFormat(formats.trustRoot, value, "trust root");
    const problem = problemOf(trust);
    if (problem !== null) throw new SovereignError("ERR_TRUST_ROOT_MALFORMED", problem);
    return trust;
  } catch (cause) {
    const found = cause instanceof SovereignError ? cause.message : "unknown";
    const text = `Not a trust root: ${found} Export it again with: sovereign keys export-trust`;
    throw new SovereignError("ERR_TRUST_ROOT_MALFORMED", text, {}, cause);
  }
}

function problemOf({ key_log, keys, root_keys }: TrustRoot): string | null {
  const { count, hashes } = key_log;
  if (hashes.length !== count) return `${hashes.length} hashes of a key log of ${count} events.`;
  const known = new Map(keys.map((key) => [key.key_id, key]));
  if (known.size !== keys.length) return "a key stands in it twice.";
  const bad = keys.find((key) => !isSoundKey(key, count));
  if (bad !== undefined) return `the key ${bad.key_id} contradicts itself or the key log's count.`;
  const stray = root_keys.find((root) => {
    const key = known.get(root.key_id);
    return key?.purpose !== "root" || key.public_key !== root.public_key;
  });
  return stray === undefined ? null : `the root key ${stray.key_id} is not among its keys.`;
}

function isSoundKey(key: TrustRoot["keys"][number], count: number): boolean {
  const { introduced, ended, ended_by: by, role, purpose } = key;
  if (parsePublicKey(base64Decode(key.public_key)).keyId !== key.key_id) return false;
  if (NAMED_PURPOSES.includes(purpose) !== (role !== null)) return false;
  if ((ended === null) !== (by === null) || introduced >= count) return false;
  return ended === null || (ended > introduced && ended <= count);
}
