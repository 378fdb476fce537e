import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  base64Decode,
  base64Encode,
  canonicalBytes,
  canonicalize,
  type ErrorCode,
  fields,
  isSovereignError,
  type JsonValue,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { type Passphrase, refuseWorkTree, SecretBox } from "../authority/index.ts";
import { placeOwnFile, readOwnFile, removeAt, replaceOwnFile } from "../system/index.ts";

const FILE_BYTES_MAX = 64 * 1024;

/** A secret at rest. */
const sealedSecret = z.discriminatedUnion("protection", [
  z.strictObject({ protection: z.literal("absent") }),
  z.strictObject({ protection: z.literal("none"), key: z.string().max(8192) }),
  z.strictObject({
    protection: z.literal("scrypt-aes-256-gcm"),
    salt: z.string().max(64),
    iv: z.string().max(32),
    tag: z.string().max(32),
    sealed: z.string().max(8192),
  }),
]);
type SealedSecret = z.infer<typeof sealedSecret>;
export type Protection = SealedSecret["protection"];

/** What a kind of sealed files is, and what is said of one that is wrong. */
export interface SealedKind<R> {
  /** In each file, such as `sovereign.model-vendor`. */
  readonly format: string;
  /** What its files' names end in. */
  readonly suffix: string;
  /** What of it is no secret: the secret opens with this alone. */
  readonly record: z.ZodType<R>;
  /** Whether a record belongs to a name; null, or the field that is wrong. */
  readonly wrongField: (record: R, name: string) => string | null;
  readonly allowed: RegExp;
  readonly damaged: ErrorCode;
  /** What messages call it, and what is to be typed to write one again. */
  readonly what: string;
  readonly writeAgain: string;
}

interface SealedFile<R> {
  readonly record: R;
  readonly secret: SealedSecret;
}

/**
 * Secrets at rest: one file each, mode 0600, in a folder of mode 0700 outside any git work tree. They
 * are encrypted where there is a passphrase, as signing keys are.
 */
export class SealedFiles<R> {
  readonly #folder: string;
  readonly #passphrase: Passphrase | null;
  readonly #kind: SealedKind<R>;

  constructor(folder: string, passphrase: Passphrase | null, kind: SealedKind<R>) {
    this.#folder = folder;
    this.#passphrase = passphrase;
    this.#kind = kind;
  }

  /** @returns how it is kept; null where one stands there that is not to be replaced */
  async write(
    name: string,
    record: R,
    secret: string | null,
    replace: boolean,
  ): Promise<Protection | null> {
    const sealed = await this.#seal(record, secret);
    refuseWorkTree(this.#folder);
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const { format } = this.#kind;
    const file = { format, schema_version: "1.0.0", record: record as JsonValue, secret: sealed };
    const text = `${canonicalize(file)}\n`;
    if (replace) replaceOwnFile(this.#path(name), text);
    else if (!placeOwnFile(this.#path(name), text)) return null;
    return sealed.protection;
  }

  /** Null where there is none. @throws the kind's code for what was not written here */
  read(name: string): { readonly record: R; readonly protection: Protection } | null {
    const file = this.#read(name);
    return file && { record: file.record, protection: file.secret.protection };
  }

  /** With its secret; null where there is none. @throws ERR_KEY_PASSPHRASE, the kind's code */
  async open(name: string): Promise<{ readonly record: R; readonly secret: string | null } | null> {
    const file = this.#read(name);
    return file && { record: file.record, secret: await this.#unseal(name, file) };
  }

  /** All of them, sorted. */
  names(): string[] {
    const { suffix } = this.#kind;
    try {
      const found = readdirSync(this.#folder).filter((name) => name.endsWith(suffix));
      return found.map((name) => name.slice(0, -suffix.length)).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  /** @returns null where there is none */
  remove(name: string): true | null {
    if (!this.names().includes(name)) return null;
    removeAt(this.#path(name));
    return true;
  }

  async #seal(record: R, secret: string | null): Promise<SealedSecret> {
    if (secret === null) return { protection: "absent" };
    const bytes = Buffer.from(secret, "latin1");
    if (this.#passphrase === null) return { protection: "none", key: base64Encode(bytes) };
    return new SecretBox(this.#passphrase).sealBytes(bytes, contextOf(record));
  }

  async #unseal(name: string, { record, secret }: SealedFile<R>): Promise<string | null> {
    if (secret.protection === "absent") return null;
    const { what, allowed, damaged } = this.#kind;
    const named = `The key of the ${what} ${name}`;
    const bytes =
      secret.protection === "none"
        ? plainKey(secret.key)
        : await new SecretBox(this.#passphrase).openBytes(secret, contextOf(record), named);
    const key = Buffer.from(bytes ?? []).toString("latin1");
    if (allowed.test(key)) return key;
    throw new SovereignError(damaged, `${named} is not one that was written here.`);
  }

  #read(name: string): SealedFile<R> | null {
    const { damaged, format, record, what, writeAgain, wrongField } = this.#kind;
    const path = this.#path(name);
    const bytes = readOwnFile(path, FILE_BYTES_MAX);
    if (bytes === null) return null;
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0) {
      const text = `${path}: others may read it. Type: chmod 600 '${path}', and replace the key.`;
      throw new SovereignError(damaged, text);
    }
    let where: string;
    try {
      const shape = z.strictObject({
        format: z.literal(format),
        schema_version: fields.schemaVersion,
        record,
        secret: sealedSecret,
      });
      const file = parseFormat(shape, parseStrictJson(bytes), what);
      const wrong = wrongField(file.record, name);
      if (wrong === null) return file;
      where = `at ${wrong}`;
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      // Its message could quote the file, and that holds a secret: only the place is told.
      const { path: field } = error.details;
      where = typeof field === "string" && field !== "" ? `at ${field}` : "not JSON of this form";
    }
    const text = `${path}: ${where}: expected the file of a ${what} as it is written here. ${writeAgain}`;
    throw new SovereignError(damaged, text);
  }

  #path(name: string): string {
    return join(this.#folder, `${name}${this.#kind.suffix}`);
  }
}

function contextOf(record: unknown): Uint8Array {
  return canonicalBytes(record as JsonValue);
}

/** Null for what is no base64: it is a secret, so no message may quote it. */
function plainKey(text: string): Uint8Array | null {
  try {
    return base64Decode(text);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return null;
  }
}
