import { join } from "node:path";
import {
  cutText,
  fields,
  isSovereignError,
  parseFormat,
  quoted,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { Passphrase } from "../authority/index.ts";
import { parseHost } from "../policy/index.ts";
import { type Protection, SealedFiles, type SealedKind } from "./sealed-files.ts";

const NAME = /^[A-Z][A-Z0-9_]{0,60}$/;
/** Shorter ones are found in answers by chance, where they are masked. */
const VALUE = /^[\x20-\x7e]{8,4096}$/;
const HOSTS_MAX = 32;

const secretRecord = z.strictObject({
  tenant_id: fields.name,
  name: z.string().regex(NAME),
  /** Where it may be sent: a host, with its port where that is not 443. */
  hosts: z.array(z.string().min(1).max(260)).min(1).max(HOSTS_MAX),
  set_at: fields.timestamp,
});
type SecretRecord = z.infer<typeof secretRecord>;

/** What is told of a secret. The value is not in it. */
export interface SecretReport extends SecretRecord {
  readonly protection: Protection;
}

/** A secret whose value is open. Only the gateway's own process ever holds one. */
export interface OpenedSecret {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly value: string;
}

/** Secrets of one tenant at rest, each for the hosts that it was set for. */
export class SecretStore {
  readonly #tenant: string;
  readonly #files: SealedFiles<SecretRecord>;

  /**
   * @param folder `secrets/` of the data folder
   * @param tenant untrusted @throws ERR_FORMAT_INVALID for what is no tenant's name
   */
  constructor(folder: string, tenant: string, passphrase: Passphrase | null) {
    this.#tenant = parseFormat(fields.name, tenant, "tenant");
    const kind = kindOf(this.#tenant);
    this.#files = new SealedFiles(join(folder, this.#tenant), passphrase, kind);
  }

  /** Set a secret, in the place of one of the same name. @throws ERR_SECRET_INVALID */
  async set({ name, hosts, value }: OpenedSecret, at: string): Promise<SecretReport> {
    const record = {
      tenant_id: this.#tenant,
      name: requireName(name),
      hosts: hostsOf(hosts),
      set_at: at,
    };
    if (!VALUE.test(value)) {
      const text = `The secret ${name}: expected 8 to 4096 printable ASCII characters in one line. Of something else, such as a file, set its base64.`;
      throw new SovereignError("ERR_SECRET_INVALID", text);
    }
    const protection = await this.#files.write(name, record, value, true);
    return { ...record, protection: protection ?? "none" };
  }

  /** All of them, by name. */
  list(): SecretReport[] {
    return this.#files.names().flatMap((name) => {
      const found = NAME.test(name) ? this.#files.read(name) : null;
      return found === null ? [] : [{ ...found.record, protection: found.protection }];
    });
  }

  /** @throws ERR_SECRET_UNKNOWN */
  remove(name: string): void {
    if (!NAME.test(name) || this.#files.remove(name) === null) throw this.#unknown(name);
  }

  /** @throws ERR_SECRET_UNKNOWN */
  require(name: string): void {
    if (!NAME.test(name) || this.#files.read(name) === null) throw this.#unknown(name);
  }

  /** With its value. @throws ERR_SECRET_UNKNOWN, ERR_SECRET_FILE, ERR_KEY_PASSPHRASE */
  async open(name: string): Promise<OpenedSecret> {
    const found = NAME.test(name) ? await this.#files.open(name) : null;
    if (found === null || found.secret === null) throw this.#unknown(name);
    return { name, hosts: found.record.hosts, value: found.secret };
  }

  #unknown(name: string): SovereignError {
    const said = quoted(cutText(name, 80));
    const text = `The tenant ${this.#tenant} has no secret ${said}. Type: sovereign secrets set NAME --host HOST --tenant ${this.#tenant}`;
    return new SovereignError("ERR_SECRET_UNKNOWN", text);
  }
}

function kindOf(tenant: string): SealedKind<SecretRecord> {
  return {
    format: "sovereign.secret",
    suffix: ".secret.json",
    record: secretRecord,
    wrongField: (record, name) => {
      if (record.tenant_id !== tenant) return "record.tenant_id";
      return record.name === name ? null : "record.name";
    },
    allowed: VALUE,
    damaged: "ERR_SECRET_FILE",
    what: "secret",
    writeAgain: "Set the secret again: sovereign secrets set NAME --host HOST",
  };
}

function requireName(name: string): string {
  if (NAME.test(name)) return name;
  const text = `Expected a secret's name of A-Z 0-9 _, starting with a letter, found ${quoted(cutText(name, 80))}.`;
  throw new SovereignError("ERR_SECRET_INVALID", text);
}

/** As policies name hosts. No pattern: a secret goes where somebody said, and nowhere else. */
/** A host that nothing can reach is bad input here, and no refusal. @throws ERR_SECRET_INVALID */
function parseSecretHost(text: string): ReturnType<typeof parseHost> {
  try {
    return parseHost(text);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    throw new SovereignError("ERR_SECRET_INVALID", error.message, {}, error);
  }
}

function hostsOf(given: readonly string[]): string[] {
  const hosts = given.map((text) => {
    const { name, port } = parseSecretHost(text);
    return port === null || port === "443" ? name : `${name}:${port}`;
  });
  if (hosts.length > 0 && hosts.length <= HOSTS_MAX) return [...new Set(hosts)].sort();
  const text = `Expected 1 to ${HOSTS_MAX} hosts to which the secret may be sent: --host api.example.org`;
  throw new SovereignError("ERR_SECRET_INVALID", text);
}
