import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  base64Decode,
  base64Encode,
  canonicalBytes,
  canonicalize,
  fields,
  isSovereignError,
  type ModelWire,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { type Passphrase, refuseWorkTree, SecretBox } from "../../authority/index.ts";
import { placeOwnFile, readOwnFile, removeAt, replaceOwnFile } from "../../system/index.ts";
import { isPublicAddress, namesLoopback } from "../addresses.ts";
import { isIP } from "node:net";
import type { OpenedVendor, VendorAuth } from "./vendor.ts";
import { type VendorFile, vendorFile, type VendorRecord } from "./vendor-file.ts";

const SUFFIX = ".vendor.json";
const FILE_BYTES_MAX = 64 * 1024;
const KEY = /^[\x21-\x7e]{1,4096}$/;

/** What people say of a vendor; the rest follows from it. */
export interface VendorInput {
  readonly name: string;
  readonly baseUrl: string;
  readonly auth: VendorAuth;
  readonly wires: readonly ModelWire[];
  readonly provider: string | null;
  readonly price: { readonly input: number; readonly output: number } | null;
  readonly outputField: OpenedVendor["outputField"];
  /** Null for a server that asks for none. */
  readonly key: string | null;
}

/** What is told of a vendor. The key is not in it. */
export interface VendorReport extends VendorRecord {
  readonly protection: VendorFile["secret"]["protection"];
}

/**
 * Vendors and their keys at rest: one file each, mode 0600, in a folder of mode 0700 outside any git
 * work tree. Keys are encrypted where there is a passphrase, as signing keys are.
 */
export class VendorStore {
  readonly #folder: string;
  readonly #passphrase: Passphrase | null;

  /** @param folder `models/` of the data folder */
  constructor(folder: string, passphrase: Passphrase | null) {
    this.#folder = folder;
    this.#passphrase = passphrase;
  }

  /**
   * @param replace whether another of the name may stand there
   * @throws ERR_MODEL_VENDOR, ERR_KEYSTORE_IN_WORK_TREE, ERR_DATA_FOLDER
   */
  async add(input: VendorInput, at: string, replace: boolean): Promise<VendorReport> {
    const record = recordOf(input, at);
    const secret = await this.#seal(input.key, record);
    refuseWorkTree(this.#folder);
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const file = { format: "sovereign.model-vendor", schema_version: "1.0.0", record, secret };
    const path = this.#path(record.name);
    const text = `${canonicalize(file)}\n`;
    if (replace) replaceOwnFile(path, text);
    else if (!placeOwnFile(path, text)) {
      const said = `A vendor ${record.name} is set up already. Add --replace to put this in its place.`;
      throw new SovereignError("ERR_MODEL_VENDOR", said);
    }
    return { ...record, protection: secret.protection };
  }

  /** All of them, by name. A file that cannot be read is named in its error. */
  list(): VendorReport[] {
    return this.#names().map((name) => this.report(name));
  }

  /** @throws ERR_MODEL_VENDOR_UNKNOWN, ERR_MODEL_VENDOR_FILE */
  report(name: string): VendorReport {
    const { record, secret } = this.#read(name);
    return { ...record, protection: secret.protection };
  }

  /** @throws ERR_MODEL_VENDOR_UNKNOWN */
  remove(name: string): void {
    this.#require(name);
    removeAt(this.#path(name));
  }

  /** With its key. @throws ERR_MODEL_VENDOR_UNKNOWN, ERR_MODEL_VENDOR_FILE, ERR_KEY_PASSPHRASE */
  async open(name: string): Promise<OpenedVendor> {
    const { record, secret } = this.#read(name);
    return {
      name: record.name,
      wires: record.wires,
      base: new URL(record.base_url),
      auth: record.auth,
      key: await this.#unseal(record, secret),
      outputField: record.output_field,
    };
  }

  async #seal(key: string | null, record: VendorRecord): Promise<VendorFile["secret"]> {
    if (key === null) return { protection: "absent" };
    if (!KEY.test(key)) {
      const text = "Expected a key of 1 to 4096 visible characters, and nothing else.";
      throw new SovereignError("ERR_MODEL_VENDOR", text);
    }
    const bytes = Buffer.from(key);
    if (this.#passphrase === null) return { protection: "none", key: base64Encode(bytes) };
    return new SecretBox(this.#passphrase).sealBytes(bytes, canonicalBytes(record));
  }

  async #unseal(record: VendorRecord, secret: VendorFile["secret"]): Promise<string | null> {
    if (secret.protection === "absent") return null;
    const what = `The key of the vendor ${record.name}`;
    const bytes =
      secret.protection === "none"
        ? base64Decode(secret.key)
        : await new SecretBox(this.#passphrase).openBytes(secret, canonicalBytes(record), what);
    const key = Buffer.from(bytes).toString("latin1");
    if (KEY.test(key)) return key;
    throw new SovereignError("ERR_MODEL_VENDOR_FILE", `${what} is not one that was written here.`);
  }

  #read(name: string): VendorFile {
    this.#require(name);
    const path = this.#path(name);
    const bytes = readOwnFile(path, FILE_BYTES_MAX);
    if (bytes === null) throw unknown(name, this.#names());
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0) {
      const text = `${path}: others may read it. Type: chmod 600 '${path}', and replace the key.`;
      throw new SovereignError("ERR_MODEL_VENDOR_FILE", text);
    }
    try {
      const file = parseFormat(vendorFile, parseStrictJson(bytes), "a vendor's file");
      if (file.record.name === name) return file;
    } catch (error) {
      // Its message could quote the file, and that holds a secret.
      if (!isSovereignError(error)) throw error;
    }
    const text = `${path}: expected a vendor's file as sovereign models add writes it. Add the vendor again, with --replace.`;
    throw new SovereignError("ERR_MODEL_VENDOR_FILE", text);
  }

  #require(name: string): void {
    if (!fields.name.safeParse(name).success) throw unknown(name, this.#names());
  }

  #names(): string[] {
    try {
      const found = readdirSync(this.#folder).filter((name) => name.endsWith(SUFFIX));
      return found.map((name) => name.slice(0, -SUFFIX.length)).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  #path(name: string): string {
    return join(this.#folder, `${name}${SUFFIX}`);
  }
}

function recordOf(input: VendorInput, at: string): VendorRecord {
  if (!fields.name.safeParse(input.name).success) {
    const text = `Expected a vendor's name of a-z 0-9 _ . -, starting with a letter, found "${input.name}".`;
    throw new SovereignError("ERR_MODEL_VENDOR", text);
  }
  if (input.auth !== "none" && input.key === null) {
    throw new SovereignError(
      "ERR_MODEL_VENDOR",
      "Expected a key. For a server without: --auth none",
    );
  }
  return {
    name: input.name,
    base_url: checkBase(input.baseUrl),
    auth: input.auth,
    wires: [...input.wires],
    provider: input.provider,
    price: input.price,
    output_field: input.outputField,
    added_at: at,
  };
}

/** @throws ERR_MODEL_VENDOR */
function checkBase(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new SovereignError("ERR_MODEL_VENDOR", "The base URL is none.", {}, cause);
  }
  const local = namesLoopback(url.hostname);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const problems: [boolean, string][] = [
    [!["http:", "https:"].includes(url.protocol), "expected http or https"],
    [url.username !== "" || url.password !== "", "expected no user in it: the key is given apart"],
    [url.search !== "" || url.hash !== "", "expected nothing after its path"],
    [url.protocol === "http:" && !local, "expected https: a key goes nowhere unencrypted"],
    [isIP(host) !== 0 && !local && !isPublicAddress(host), "expected no private address"],
  ];
  const problem = problems.find(([wrong]) => wrong)?.[1];
  if (problem === undefined) return url.href;
  throw new SovereignError("ERR_MODEL_VENDOR", `The base URL ${url.host} is refused: ${problem}.`);
}

function unknown(name: string, names: readonly string[]): SovereignError {
  const known = names.length === 0 ? "None is set up" : `There are ${names.join(", ")}`;
  const text = `No vendor "${name.slice(0, 80)}". ${known}. Type: sovereign models add --help`;
  return new SovereignError("ERR_MODEL_VENDOR_UNKNOWN", text);
}
