import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  scrypt,
  sign,
} from "node:crypto";
import { isUtf8 } from "node:buffer";
import { promisify } from "node:util";
import {
  base64Decode,
  base64Encode,
  canonicalBytes,
  fields,
  type KeyRecord,
  parsePublicKey,
  type Signer,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";

/** PKCS #8 wrapping of a 32-byte Ed25519 seed (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** scrypt cost: 128 MiB and about 0.4 s, paid once for each start (RFC 7914 §2). */
const SCRYPT = { N: 131_072, r: 8, p: 1, maxmem: 256 * 1024 * 1024 } as const;

export const keyFile = z.strictObject({
  format: z.literal("sovereign.key"),
  schema_version: fields.schemaVersion,
  record: fields.keyRecord,
  secret: z.discriminatedUnion("protection", [
    z.strictObject({ protection: z.literal("none"), seed: z.string().max(64) }),
    z.strictObject({
      protection: z.literal("scrypt-aes-256-gcm"),
      salt: z.string().max(64),
      iv: z.string().max(32),
      tag: z.string().max(32),
      sealed: z.string().max(64),
    }),
  ]),
});
export type KeyFile = z.infer<typeof keyFile>;
type Sealed = Extract<KeyFile["secret"], { protection: "scrypt-aes-256-gcm" }>;

/** A passphrase is bytes: two that differ in any bit never open the same key. */
export type Passphrase = string | Uint8Array;

const UNSEALED =
  "Nothing can be sealed without a passphrase. Set SOVEREIGN_PASSPHRASE_FILE to a file that holds one.";

/** Seals new seeds and opens sealed ones, under one passphrase or none. */
export class SecretBox {
  readonly #passphrase: Uint8Array | null;
  readonly #derived = new Map<string, Buffer>();

  constructor(passphrase: Passphrase | null) {
    this.#passphrase = passphrase === null ? null : Buffer.from(passphrase);
  }

  async seal(seed: Buffer, record: KeyRecord): Promise<KeyFile["secret"]> {
    if (this.#passphrase === null) return { protection: "none", seed: base64Encode(seed) };
    return this.sealBytes(seed, canonicalBytes(record));
  }

  /**
   * Seal any secret.
   * @param context what it belongs to: it opens with nothing else
   * @throws ERR_KEY_PASSPHRASE where there is no passphrase
   */
  async sealBytes(secret: Uint8Array, context: Uint8Array): Promise<Sealed> {
    if (this.#passphrase === null) throw new SovereignError("ERR_KEY_PASSPHRASE", UNSEALED);
    const salt = randomBytes(16);
    const iv = randomBytes(12);
    const key = await this.#derive(this.#passphrase, salt);
    const cipher = createCipheriv("aes-256-gcm", key, iv);
    cipher.setAAD(context);
    const sealed = Buffer.concat([cipher.update(secret), cipher.final()]);
    return {
      protection: "scrypt-aes-256-gcm",
      salt: base64Encode(salt),
      iv: base64Encode(iv),
      tag: base64Encode(cipher.getAuthTag()),
      sealed: base64Encode(sealed),
    };
  }

  /** @throws ERR_KEY_PASSPHRASE, ERR_KEY_FILE_MALFORMED */
  async signer({ secret, record }: KeyFile): Promise<Signer> {
    const seed =
      secret.protection === "none"
        ? seedOf(secret.seed)
        : await this.openBytes(secret, canonicalBytes(record), `Key ${record.key_id}`);
    if (seed?.length === 32) {
      const key = privateKeyOf(seed);
      seed.fill(0);
      if (base64Encode(rawPublicKey(key)) === record.public_key) return signerOf(key, record);
    }
    const text = `The secret of ${record.key_id} does not belong to its public key.`;
    throw new SovereignError("ERR_KEY_FILE_MALFORMED", text);
  }

  /**
   * Open what {@link sealBytes} sealed.
   * @param what whose secret it is, for the message
   * @throws ERR_KEY_PASSPHRASE
   */
  async openBytes(secret: Sealed, context: Uint8Array, what: string): Promise<Buffer> {
    if (this.#passphrase === null) {
      throw new SovereignError(
        "ERR_KEY_PASSPHRASE",
        `${what} is encrypted. Set SOVEREIGN_PASSPHRASE_FILE to a file that holds its passphrase.`,
      );
    }
    for (const passphrase of readings(this.#passphrase)) {
      try {
        const key = await this.#derive(passphrase, Buffer.from(base64Decode(secret.salt)));
        return decrypt(key, secret, context);
      } catch {
        // The next reading, or the refusal below.
      }
    }
    throw new SovereignError("ERR_KEY_PASSPHRASE", `${what}: the passphrase does not open it.`);
  }

  async #derive(passphrase: Uint8Array, salt: Buffer): Promise<Buffer> {
    const id = `${salt.toString("hex")} ${passphrase === this.#passphrase ? "" : "as text"}`;
    const known = this.#derived.get(id);
    if (known !== undefined) return known;
    const derive = promisify<Uint8Array, Buffer, number, typeof SCRYPT, Buffer>(scrypt);
    const key = await derive(passphrase, salt, 32, SCRYPT);
    this.#derived.set(id, key);
    return key;
  }
}

/** A new key pair. */
export function newSeed(): { seed: Buffer; publicKey: ReturnType<typeof parsePublicKey> } {
  const seed = randomBytes(32);
  return { seed, publicKey: parsePublicKey(rawPublicKey(privateKeyOf(seed))) };
}

/**
 * The bytes; and for bytes that are no UTF-8 the text that an earlier version made of them, with
 * which it sealed keys. No new key is sealed so.
 */
function readings(passphrase: Uint8Array): Uint8Array[] {
  if (isUtf8(passphrase)) return [passphrase];
  return [passphrase, Buffer.from(Buffer.from(passphrase).toString("utf8"))];
}

function decrypt(key: Buffer, secret: Sealed, context: Uint8Array): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", key, base64Decode(secret.iv));
  decipher.setAAD(context);
  decipher.setAuthTag(base64Decode(secret.tag));
  return Buffer.concat([decipher.update(base64Decode(secret.sealed)), decipher.final()]);
}

/** Null for what is no base64: its bytes are a secret, so no message may quote them. */
function seedOf(text: string): Buffer | null {
  try {
    return Buffer.from(base64Decode(text));
  } catch {
    return null;
  }
}

function privateKeyOf(seed: Buffer): KeyObject {
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
}

function signerOf(key: KeyObject, record: KeyRecord): Signer {
  return Object.freeze({
    publicKey: parsePublicKey(base64Decode(record.public_key)),
    sign: (message: Uint8Array) => sign(null, message, key),
  });
}
