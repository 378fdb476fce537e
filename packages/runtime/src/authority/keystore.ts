import { existsSync, realpathSync } from "node:fs";
import { chmod, constants, mkdir, open, readdir, lstat, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  base64Encode,
  canonicalize,
  fields,
  isSovereignError,
  type KeyPurpose,
  type KeyRecord,
  parseFormat,
  parseStrictJson,
  type Signer,
  SovereignError,
  fixClass,
  notMade,
  refuseDerived,
} from "@sovereign/core";
import { type KeyFile, keyFile, newSeed, type Passphrase, SecretBox } from "./key-secret.ts";

const KEY_SUFFIX = ".key.json";
/** A key that was written and of which it is not known yet whether the key log has it. */
const PENDING_SUFFIX = `${KEY_SUFFIX}.pending`;
/** A key file that is being written. */
const NEW_SUFFIX = ".new";
/** No key file is longer. */
const BYTES_MAX = 64 * 1024;
/** After so long no entry of a dead process is on its way to the key log any more. */
const PENDING_MS = 10 * 60 * 1000;

export interface KeystoreOptions {
  /** An absolute folder. */
  readonly folder: string;
  /** False to refuse a folder that is not there; else it is made with mode 0700. */
  readonly make?: boolean;
  /** True to open a folder that others may read: to sign a stop is right whoever else has the key. */
  readonly lenient?: boolean;
  /** Encrypts new keys and opens encrypted ones. Null leaves keys protected by file mode alone. */
  readonly passphrase: Passphrase | null;
}

/** Something in the folder that is no key file which can be used. It changes nothing. */
export interface StrayFile {
  readonly path: string;
  /** What is wrong with it, and what to type. */
  readonly why: string;
}

/**
 * Private keys at rest: one file a key, mode 0600, in a folder of mode 0700 outside any git work
 * tree. A private key leaves this module only as the power to sign.
 *
 * INVARIANT: a file that is not a key of ours, whatever it is, never keeps another from being used.
 */
export class Keystore {
  readonly #folder: string;
  readonly #box: SecretBox;

  private constructor({ folder, passphrase }: KeystoreOptions) {
    this.#folder = folder;
    this.#box = new SecretBox(passphrase);
    refuseDerived(new.target, Keystore);
    Object.freeze(this);
  }

  /** @throws TypeError for what was not opened here: it would sign, or make keys, in its own way */
  static assertMade(one: unknown): void {
    if (typeof one !== "object" || one === null || !(#box in one)) throw notMade("a keystore");
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
    await refuseUnsafeFolder(folder, options.lenient === true);
    return new Keystore({ ...options, folder });
  }

  /** The public records of all keys in the folder that can be used, by file name. */
  async records(): Promise<KeyRecord[]> {
    const { keys } = await this.#survey();
    return keys.map(({ record }) => record);
  }

  /** Everything else in the folder, named for a person. */
  async strays(): Promise<StrayFile[]> {
    const { strays } = await this.#survey();
    return strays.map(({ path, error }) => ({ path, why: error.message }));
  }

  /**
   * Make a new key pair and write it, whole or not at all. It is kept apart until it is
   * {@link settle}d, so that a process that dies in between leaves nothing that looks enrolled.
   *
   * @param purpose what the key may sign
   * @param role the role, for the purposes `role` and `approval`
   * @param window from when, and until when, the key is good
   * @throws ERR_KEY_NAME before anything is written
   */
  async create(
    purpose: KeyPurpose,
    role: string | null,
    window: { notBefore: string; notAfter: string | null },
  ): Promise<KeyRecord> {
    refuseName(purpose, role);
    const { seed, publicKey } = newSeed();
    const record: KeyRecord = {
      key_id: publicKey.keyId,
      public_key: base64Encode(publicKey.raw),
      purpose,
      role,
      not_before: window.notBefore,
      not_after: window.notAfter,
    };
    const secret = await this.#box.seal(seed, record);
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
    const { keys, strays } = await this.#survey();
    let failure = strays.find(({ path }) => basename(path).includes(keyId.slice(0, 16)))?.error;
    for (const key of keys.filter(({ record }) => record.key_id === keyId)) {
      try {
        return await this.#box.signer(key);
      } catch (error) {
        if (!(error instanceof SovereignError)) throw error;
        failure = error;
      }
    }
    if (failure !== undefined) throw failure;
    throw new SovereignError("ERR_KEY_NOT_FOUND", `Key ${keyId} is not in this keystore.`, {
      keyId,
    });
  }

  /**
   * The key in one file of the folder, whatever else lies there.
   * @throws ERR_KEYSTORE_UNSAFE, ERR_KEY_FILE_MALFORMED, ERR_KEYSTORE_UNAVAILABLE, ERR_KEY_PASSPHRASE
   */
  async fileSigner(file: string): Promise<{ record: KeyRecord; signer: () => Promise<Signer> }> {
    const key = await this.#read(file);
    return { record: key.record, signer: () => this.#box.signer(key) };
  }

  /**
   * What was made is enrolled, or it is not. What other processes left behind is completed where the
   * key log has it, and taken away where it never will.
   *
   * @param isEnrolled whether the key log has the key
   * @param now in milliseconds
   */
  async settle(isEnrolled: (keyId: string) => boolean, now: number): Promise<void> {
    for (const name of await this.#names()) {
      const path = join(this.#folder, name);
      try {
        if (name.endsWith(PENDING_SUFFIX) && isEnrolled((await this.#read(name)).record.key_id)) {
          await rename(path, path.slice(0, -PENDING_SUFFIX.length) + KEY_SUFFIX);
        } else if (isLeftOver(name) && (await ageOf(path, now)) > PENDING_MS) await rm(path);
      } catch {
        // Somebody else was quicker, or it is no file of ours: it is named by `strays`.
      }
    }
  }

  /** Forget a key that was never enrolled. */
  async discard(keyId: string): Promise<void> {
    for (const name of await this.#names()) {
      if (!name.includes(keyId.slice(0, 16)) || !name.endsWith(PENDING_SUFFIX)) continue;
      if ((await this.#read(name)).record.key_id === keyId) await rm(join(this.#folder, name));
    }
  }

  /** @throws ERR_KEYSTORE_UNAVAILABLE where not even the names in the folder can be read */
  async requireReadable(): Promise<void> {
    await this.#names();
  }

  async #names(): Promise<string[]> {
    return (
      await readdir(this.#folder).catch((cause: unknown) => {
        throw unavailable(this.#folder, cause);
      })
    ).sort();
  }

  /** Every file is read by itself: what is wrong with one is told of that one. */
  async #survey(): Promise<{ keys: KeyFile[]; strays: { path: string; error: SovereignError }[] }> {
    const keys: KeyFile[] = [];
    const strays: { path: string; error: SovereignError }[] = [];
    for (const name of await this.#names()) {
      const path = join(this.#folder, name);
      try {
        if (!isKeyName(name)) throw foreign(path);
        keys.push(await this.#read(name));
        if (name.endsWith(PENDING_SUFFIX)) strays.push({ path, error: pending(path) });
      } catch (error) {
        if (!(error instanceof SovereignError)) throw error;
        strays.push({ path, error });
      }
    }
    return { keys, strays };
  }

  async #write(file: KeyFile): Promise<void> {
    const { purpose, role, key_id } = file.record;
    const stem = `${purpose}${role === null ? "" : `-${role}`}-${key_id.slice(0, 16)}`;
    const path = join(this.#folder, `${stem}${PENDING_SUFFIX}`);
    try {
      const handle = await open(`${path}${NEW_SUFFIX}`, "wx", 0o600);
      try {
        await handle.writeFile(`${canonicalize(file)}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(`${path}${NEW_SUFFIX}`, path);
      await syncFolder(this.#folder);
    } catch (cause) {
      throw unavailable(path, cause);
    }
  }

  async #read(file: string): Promise<KeyFile> {
    const path = join(this.#folder, file);
    const bytes = await readOwn(path);
    try {
      return parseFormat(keyFile, parseStrictJson(bytes), "a key file", "ERR_KEY_FILE_MALFORMED");
    } catch (cause) {
      // Another cause may quote the file's bytes, and those are a secret: it is not kept.
      const said = isSovereignError(cause, "ERR_KEY_FILE_MALFORMED");
      throw malformed(path, said ? cause.message : "its content is not JSON");
    }
  }
}

fixClass(Keystore);

function isKeyName(name: string): boolean {
  return name.endsWith(KEY_SUFFIX) || name.endsWith(PENDING_SUFFIX);
}

/** By its name alone: such a name is given to what is not enrolled yet, and to nothing else. */
function isLeftOver(name: string): boolean {
  return (
    name.endsWith(PENDING_SUFFIX) ||
    name.endsWith(`${KEY_SUFFIX}${NEW_SUFFIX}`) ||
    name.endsWith(`${PENDING_SUFFIX}${NEW_SUFFIX}`)
  );
}

async function ageOf(path: string, now: number): Promise<number> {
  const found = await lstat(path);
  return found.isFile() ? now - found.mtimeMs : 0;
}

/** A name of a holder must be a name before a key is made of it. @throws ERR_KEY_NAME */
export function refuseName(purpose: KeyPurpose, role: string | null): void {
  if (role === null || fields.name.safeParse(role).success) return;
  const text = `The ${purpose} key's name ${JSON.stringify(role.slice(0, 100))} cannot be used. Expected 1 to 63 of a-z 0-9 _ . -, starting with a letter.`;
  throw new SovereignError("ERR_KEY_NAME", text);
}

/**
 * Every ancestor is looked at, by name and where links lead: a key in a work tree is one `git add .`
 * from being published.
 */
export function refuseWorkTree(folder: string): void {
  for (const path of new Set([folder, realPathOf(folder)])) {
    for (let at = path; ; at = dirname(at)) {
      if (existsSync(join(at, ".git"))) throw inWorkTree(folder, at);
      if (dirname(at) === at) break;
    }
  }
}

/** Where it is, or would be made. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPathOf(parent), basename(path));
  }
}

function inWorkTree(folder: string, workTree: string): SovereignError {
  return new SovereignError(
    "ERR_KEYSTORE_IN_WORK_TREE",
    `Keys must not lie in a git work tree: ${folder} is inside ${workTree}. Set SOVEREIGN_HOME to a folder outside it.`,
    { folder, workTree },
  );
}

async function refuseUnsafeFolder(path: string, lenient: boolean): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw unavailable(path, cause);
  });
  if (!found.isDirectory()) throw unavailable(path, new Error("expected a folder"));
  if (!lenient) refuseUnsafe(path, "folder", found, 0o077);
}

/**
 * Read a file that must be ours alone. A link is not followed, and a pipe is not waited for.
 * What is looked at is what was opened.
 */
async function readOwn(path: string): Promise<Buffer> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(path, flags).catch((cause: unknown) => {
    throw isLink(cause) ? malformed(path, "it is a link") : unavailable(path, cause);
  });
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw malformed(path, "it is no plain file");
    refuseUnsafe(path, "key file", found, 0o177);
    if (found.size > BYTES_MAX) throw malformed(path, `it has more than ${BYTES_MAX} bytes`);
    const bytes = Buffer.alloc(BYTES_MAX + 1);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function isLink(cause: unknown): boolean {
  return (cause as NodeJS.ErrnoException).code === "ELOOP";
}

function refuseUnsafe(
  path: string,
  what: "folder" | "key file",
  found: { uid: number; mode: number },
  forbidden: number,
): void {
  const owner = process.getuid?.();
  if (owner !== undefined && found.uid !== owner) {
    const text = `The ${what} ${path} belongs to user ${found.uid}; expected ${owner}.`;
    throw new SovereignError("ERR_KEYSTORE_UNSAFE", text);
  }
  if ((found.mode & forbidden) === 0) return;
  const mode = (found.mode & 0o777).toString(8);
  const command = `chmod ${what === "folder" ? "700" : "600"} ${path}`;
  const text = `The ${what} ${path} has mode ${mode}: others could read keys. Type: ${command}`;
  throw new SovereignError("ERR_KEYSTORE_UNSAFE", text);
}

function malformed(path: string, why: string): SovereignError {
  const text = `${path} is no key file: ${why}. It is left aside. Move it out of the folder.`;
  return new SovereignError("ERR_KEY_FILE_MALFORMED", text, { path });
}

function foreign(path: string): SovereignError {
  return malformed(path, `its name does not end with ${KEY_SUFFIX}`);
}

function pending(path: string): SovereignError {
  const text = `${path} was written by a command that was killed, or that runs now. The next command completes it where it was enrolled, and removes it where it was not within 10 minutes.`;
  return new SovereignError("ERR_KEY_FILE_MALFORMED", text, { path });
}

function unavailable(path: string, cause: unknown): SovereignError {
  const why = cause instanceof Error ? cause.message : "unknown";
  const text = `Cannot use ${path}: ${why}. ${mending(path, cause)}`;
  return new SovereignError("ERR_KEYSTORE_UNAVAILABLE", text, { path }, cause);
}

function mending(path: string, cause: unknown): string {
  const { code = "" } = cause as NodeJS.ErrnoException;
  const [what, mode] = path.endsWith(KEY_SUFFIX) ? ["file", "600"] : ["folder", "700"];
  if (code === "EACCES" || code === "EPERM") return `Type: chmod ${mode} "${path}"`;
  return `Expected a ${what} of yours with mode ${mode}. Look into it: move away what stands there, and put back the keys from a backup.`;
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
