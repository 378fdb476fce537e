/**
 * The two primitives that a platform gives us. Chosen by the package import `#platform`: Node's
 * OpenSSL under Node, audited JavaScript elsewhere. Both are held to the same vectors.
 */
export interface Platform {
  /** SHA-256 of the bytes, 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** SHA-256 of the bytes, or of the UTF-8 of a text, as lower-case hex. */
  sha256Hex(data: Uint8Array | string): string;
  /** Ed25519, cofactorless (RFC 8032 §5.1.7). The caller has checked S, R and A for canonicity. */
  verifyEd25519(rawKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}
