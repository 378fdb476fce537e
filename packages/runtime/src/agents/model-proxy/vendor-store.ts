import { isIP } from "node:net";
import {
  cutText,
  fields,
  isSovereignError,
  type ModelWire,
  quoted,
  SovereignError,
} from "@sovereign/core";
import type { Passphrase } from "../../authority/index.ts";
import { isPublicAddress, namesLoopback } from "../addresses.ts";
import { type Protection, SealedFiles, type SealedKind } from "../sealed-files.ts";
import type { OpenedVendor, VendorAuth } from "./vendor.ts";
import { type VendorRecord, vendorRecord } from "./vendor-record.ts";

const KEY = /^[\x21-\x7e]{1,4096}$/;

const KIND: SealedKind<VendorRecord> = {
  format: "sovereign.model-vendor",
  suffix: ".vendor.json",
  record: vendorRecord,
  wrongField: (record, name) => {
    if (record.name !== name) return "record.name";
    return isBase(record.base_url) ? null : "record.base_url";
  },
  allowed: KEY,
  damaged: "ERR_MODEL_VENDOR_FILE",
  what: "vendor",
  writeAgain: "Add the vendor again: sovereign models add … --replace",
};

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
  readonly protection: Protection;
}

/** Vendors of models and their keys at rest. */
export class VendorStore {
  readonly #files: SealedFiles<VendorRecord>;

  /** @param folder `models/` of the data folder */
  constructor(folder: string, passphrase: Passphrase | null) {
    this.#files = new SealedFiles(folder, passphrase, KIND);
  }

  /**
   * @param replace whether another of the name may stand there
   * @throws ERR_MODEL_VENDOR, ERR_KEYSTORE_IN_WORK_TREE, ERR_DATA_FOLDER
   */
  async add(input: VendorInput, at: string, replace: boolean): Promise<VendorReport> {
    const record = recordOf(input, at);
    const protection = await this.#files.write(record.name, record, input.key, replace);
    if (protection !== null) return { ...record, protection };
    const said = `A vendor ${record.name} is set up already. Add --replace to put this in its place.`;
    throw new SovereignError("ERR_MODEL_VENDOR", said);
  }

  /** All of them, by name. A file that cannot be read is named in its error. */
  list(): VendorReport[] {
    return this.#files.names().map((name) => this.report(name));
  }

  /** @throws ERR_MODEL_VENDOR_UNKNOWN, ERR_MODEL_VENDOR_FILE */
  report(name: string): VendorReport {
    const { record, protection } = this.#known(name, (known) => this.#files.read(known));
    return { ...record, protection };
  }

  /** @throws ERR_MODEL_VENDOR_UNKNOWN */
  remove(name: string): void {
    this.#known(name, (known) => this.#files.remove(known));
  }

  /** With its key. @throws ERR_MODEL_VENDOR_UNKNOWN, ERR_MODEL_VENDOR_FILE, ERR_KEY_PASSPHRASE */
  async open(name: string): Promise<OpenedVendor> {
    const opened = await this.#known(name, (known) => this.#files.open(known));
    if (opened === null) throw this.#unknown(name);
    const { record, secret: key } = opened;
    return {
      name: record.name,
      wires: record.wires,
      base: new URL(record.base_url),
      auth: record.auth,
      key,
      outputField: record.output_field,
    };
  }

  /** A name that is none is no file's. */
  #known<T>(name: string, find: (name: string) => T | null): T {
    const found = fields.name.safeParse(name).success ? find(name) : null;
    if (found === null) throw this.#unknown(name);
    return found;
  }

  #unknown(name: string): SovereignError {
    const names = this.#files.names();
    const known = names.length === 0 ? "None is set up" : `There are ${names.join(", ")}`;
    const text = `No vendor ${quoted(cutText(name, 80))}. ${known}. Type: sovereign models add --help`;
    return new SovereignError("ERR_MODEL_VENDOR_UNKNOWN", text);
  }
}

function recordOf(input: VendorInput, at: string): VendorRecord {
  if (!fields.name.safeParse(input.name).success) {
    const text = `Expected a vendor's name of a-z 0-9 _ . -, starting with a letter, found ${quoted(cutText(input.name, 80))}.`;
    throw new SovereignError("ERR_MODEL_VENDOR", text);
  }
  if (input.auth !== "none" && input.key === null) {
    throw new SovereignError(
      "ERR_MODEL_VENDOR",
      "Expected a key. For a server without: --auth none",
    );
  }
  if (input.key !== null && !KEY.test(input.key)) {
    const text = "Expected a key of 1 to 4096 visible characters, and nothing else.";
    throw new SovereignError("ERR_MODEL_VENDOR", text);
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

/** What was refused when a vendor is added is no base URL in a file, either. */
function isBase(text: string): boolean {
  try {
    return checkBase(text) === text;
  } catch (error) {
    if (!isSovereignError(error, "ERR_MODEL_VENDOR")) throw error;
    return false;
  }
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
