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
import { existsSync } from "node:fs";
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import {
  base64Decode,
  base64Encode,
  canonicalBytes,
  canonicalize,
  fields,
  type KeyPurpose,
  type KeyRecord,
  parseFormat,
  parsePublicKey,
  parseStrictJson,
  type Signer,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";

/** PKCS #8 wrapping of a 32-byte Ed25519 seed (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const KEY_SUFFIX = ".key.json";

/** scrypt cost: 128 MiB and about 0.4 s, paid once for each start (RFC 7914 §2). */
const SCRYPT = { N: 131_072, r: 8, p: 1, maxmem: 256 * 1024 * 1024 } as const;

const keyFile = z.strictObject({
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
type KeyFile = z.infer<typeof keyFile>;

export interface KeystoreOptions {
  /** An absolute folder. */
  readonly folder: string;
  /** False to refuse a folder that is not there; else it is made with mode 0700. */
  readonly make?: boolean;
  /** Encrypts new keys and opens encrypted ones. Null leaves keys protected by file mode alone. */
  readonly passphrase: string | null;
}

/**
 * Private keys at rest: one file a key, mode 0600, in a folder of mode 0700 outside any git work
 * tree. A private key leaves this module only as the power to sign.
 */
export class Keystore {
  readonly #folder: string;
  readonly #passphrase: string | null;
  readonly #derived = new Map<string, Buffer>();

  private constructor(options: KeystoreOptions) {
    this.#folder = options.folder;
    this.#passphrase = options.passphrase;
  }

  /**
   * Open the folder, making it where it is missing unless told otherwise.
   *
   * @throws ERR_KEYSTORE_IN_WORK_TREE when the folder lies in a git work tree
   * @throws ERR_KEYSTORE_UNSAFE when others may read it, or another user owns it
   * @throws ERR_KEYSTORE_UNAVAILABLE when it is not there, or can not be made or read
   */
  static async open(options: KeystoreOptions): Promise<Keystore> {
    const folder = resolve(options.folder);
    refuseWorkTree(folder);
    if (options.make !== false) {
      await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
        throw unavailable(folder, cause);
      });
    }
    await refuseUnsafe(folder, "folder", 0o077);
    return new Keystore({ ...options, folder });
  }

  /** The public records of all keys in the folder, by file name. */
  async records(): Promise<KeyRecord[]> {
    const files = (await readdir(this.#folder)).filter((file) => file.endsWith(KEY_SUFFIX)).sort();
    return Promise.all(files.map(async (file) => (await this.#read(file)).record));
  }

  /**
   * Make a new key pair and write it, whole or not at all.
   *
   * @param purpose what the key may sign
   * @param role the role, for the purposes `role` and `approval`
   * @param window from when, and until when, the key is good
   */
  async create(
    purpose: KeyPurpose,
    role: string | null,
    window: { notBefore: string; notAfter: string | null },
  ): Promise<KeyRecord> {
    const seed = randomBytes(32);
    const publicKey = parsePublicKey(rawPublicKey(privateKeyOf(seed)));
    const record: KeyRecord = {
      key_id: publicKey.keyId,
      public_key: base64Encode(publicKey.raw),
      purpose,
      role,
      not_before: window.notBefore,
      not_after: window.notAfter,
    };
    const secret = await this.#seal(seed, record);
    seed.fill(0);
    await this.#write({ format: "sovereign.key", schema_version: "1.0.0", record, secret });
    return record;
  }

  /**
   * The power to sign with one key.
   *
   * @throws ERR_KEY_NOT_FOUND when the folder has no such key
   * @throws ERR_KEY_PASSPHRASE when the key is encrypted and the passphrase is missing or wrong
   */
  async signer(keyId: string): Promise<Signer> {
    const files = (await readdir(this.#folder)).filter((file) => file.includes(keyId.slice(0, 16)));
    for (const file of files) {
      const stored = await this.#read(file);
      if (stored.record.key_id !== keyId) continue;
      const seed = await this.#unseal(stored);
      const key = privateKeyOf(seed);
      seed.fill(0);
      return signerOf(key, stored.record);
    }
    throw new SovereignError("ERR_KEY_NOT_FOUND", `Key ${keyId} is not in this keystore.`, {
      keyId,
    });
  }

  /** Forget a key that was never enrolled. */
  async discard(keyId: string): Promise<void> {
    for (const file of await readdir(this.#folder)) {
      if (!file.includes(keyId.slice(0, 16)) || !file.endsWith(KEY_SUFFIX)) continue;
      if ((await this.#read(file)).record.key_id === keyId) await rm(join(this.#folder, file));
    }
  }

  async #write(file: KeyFile): Promise<void> {
    const { purpose, role, key_id } = file.record;
    const name = `${purpose}${role === null ? "" : `-${role}`}-${key_id.slice(0, 16)}${KEY_SUFFIX}`;
    const path = join(this.#folder, name);
    try {
      const handle = await open(`${path}.new`, "wx", 0o600);
      try {
        await handle.writeFile(`${canonicalize(file)}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(`${path}.new`, path);
      await syncFolder(this.#folder);
    } catch (cause) {
      throw unavailable(path, cause);
    }
  }

  async #read(file: string): Promise<KeyFile> {
    const path = join(this.#folder, file);
    await refuseUnsafe(path, "key file", 0o177);
    const bytes = await readFile(path);
    try {
      return parseFormat(keyFile, parseStrictJson(bytes), file, "ERR_KEY_FILE_MALFORMED");
    } catch (cause) {
      if (cause instanceof SovereignError && cause.code === "ERR_KEY_FILE_MALFORMED") throw cause;
      // The cause may quote the file's bytes, and those are a secret: it is not kept.
      throw new SovereignError("ERR_KEY_FILE_MALFORMED", `${file} is not a key file.`, { file });
    }
  }

  async #seal(seed: Buffer, record: KeyRecord): Promise<KeyFile["secret"]> {
    if (this.#passphrase === null) return { protection: "none", seed: base64Encode(seed) };
    const salt = randomBytes(16);
    const iv = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", await this.#derive(salt), iv);
    cipher.setAAD(canonicalBytes(record));
    const sealed = Buffer.concat([cipher.update(seed), cipher.final()]);
    return {
      protection: "scrypt-aes-256-gcm",
      salt: base64Encode(salt),
      iv: base64Encode(iv),
      tag: base64Encode(cipher.getAuthTag()),
      sealed: base64Encode(sealed),
    };
  }

  async #unseal(file: KeyFile): Promise<Buffer> {
    const { secret, record } = file;
    const seed =
      secret.protection === "none"
        ? Buffer.from(base64Decode(secret.seed))
        : await this.#decrypt(secret, record);
    if (seed.length === 32) {
      const raw = rawPublicKey(privateKeyOf(seed));
      if (base64Encode(raw) === record.public_key) return seed;
    }
    throw new SovereignError(
      "ERR_KEY_FILE_MALFORMED",
      `The secret of ${record.key_id} does not belong to its public key.`,
    );
  }

  async #decrypt(
    secret: Extract<KeyFile["secret"], { protection: "scrypt-aes-256-gcm" }>,
    record: KeyRecord,
  ): Promise<Buffer> {
    if (this.#passphrase === null) {
      throw new SovereignError(
        "ERR_KEY_PASSPHRASE",
        `Key ${record.key_id} is encrypted. Set SOVEREIGN_PASSPHRASE_FILE to a file that holds its passphrase.`,
      );
    }
    try {
      const key = await this.#derive(Buffer.from(base64Decode(secret.salt)));
      const decipher = createDecipheriv("aes-256-gcm", key, base64Decode(secret.iv));
      decipher.setAAD(canonicalBytes(record));
      decipher.setAuthTag(base64Decode(secret.tag));
      return Buffer.concat([decipher.update(base64Decode(secret.sealed)), decipher.final()]);
    } catch {
      throw new SovereignError(
        "ERR_KEY_PASSPHRASE",
        `The passphrase does not open ${record.key_id}.`,
      );
    }
  }

  async #derive(salt: Buffer): Promise<Buffer> {
    const id = salt.toString("hex");
    const known = this.#derived.get(id);
    if (known !== undefined) return known;
    const derive = promisify<string, Buffer, number, typeof SCRYPT, Buffer>(scrypt);
    const key = await derive(this.#passphrase ?? "", salt, 32, SCRYPT);
    this.#derived.set(id, key);
    return key;
  }
}

/** Every ancestor is looked at: a key in a work tree is one `git add .` from being published. */
function refuseWorkTree(folder: string): void {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, ".git"))) {
      throw new SovereignError(
        "ERR_KEYSTORE_IN_WORK_TREE",
        `Keys must not lie in a git work tree: ${folder} is inside ${at}. Set SOVEREIGN_HOME to a folder outside it.`,
        { folder, workTree: at },
      );
    }
    if (dirname(at) === at) return;
  }
}

async function refuseUnsafe(path: string, what: string, forbidden: number): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw unavailable(path, cause);
  });
  const owner = process.getuid?.();
  if (owner !== undefined && found.uid !== owner) {
    throw new SovereignError(
      "ERR_KEYSTORE_UNSAFE",
      `The ${what} ${path} belongs to user ${found.uid}; expected ${owner}.`,
    );
  }
  if ((found.mode & forbidden) !== 0) {
    const mode = (found.mode & 0o777).toString(8);
    const command = `chmod ${what === "folder" ? "700" : "600"} ${path}`;
    throw new SovereignError(
      "ERR_KEYSTORE_UNSAFE",
      `The ${what} ${path} has mode ${mode}: others could read keys. Type: ${command}`,
    );
  }
}

function unavailable(path: string, cause: unknown): SovereignError {
  const why = cause instanceof Error ? cause.message : "unknown";
  return new SovereignError(
    "ERR_KEYSTORE_UNAVAILABLE",
    `Cannot use ${path}: ${why}.`,
    { path },
    cause,
  );
}

async function syncFolder(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
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
  return {
    publicKey: parsePublicKey(base64Decode(record.public_key)),
    sign: (message) => sign(null, message, key),
  };
}
