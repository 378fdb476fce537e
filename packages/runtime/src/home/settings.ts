import type { JsonValue } from "@sovereign/core";
import { scramConfig } from "../scram/index.ts";
import { type Config, loadConfig } from "./config.ts";
import { locateDataFolder } from "./data-folder.ts";
import { passphraseOf } from "./passphrase.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** One setting: what it is, and where it may be set. The table in the docs is made from these. */
export interface SettingDeclaration {
  /** As `config.yaml` has it, section first, where it may stand there. */
  readonly name: string;
  readonly description: string;
  /** The environment variable, which comes before `config.yaml`; null for none. */
  readonly environment: string | null;
  /** True where `config.yaml` may set it. */
  readonly inFile: boolean;
  /** What holds where nobody sets it. */
  readonly default: JsonValue;
}

/** A setting as it holds now. */
export interface Setting extends SettingDeclaration {
  /** A password in it is not shown. */
  readonly value: JsonValue;
  readonly source: "environment" | "config.yaml" | "default";
}

const environmentOnly = (
  name: string,
  environment: string,
  fallback: JsonValue,
  description: string,
): SettingDeclaration => ({ name, environment, inFile: false, default: fallback, description });

const inFile = (name: string, fallback: JsonValue, description: string): SettingDeclaration => ({
  name,
  environment: null,
  inFile: true,
  default: fallback,
  description,
});

/** Every setting. The kill switch's are those of its own format. */
export const SETTINGS: readonly SettingDeclaration[] = [
  environmentOnly(
    "home",
    "SOVEREIGN_HOME",
    "$XDG_DATA_HOME/sovereign, else ~/.local/share/sovereign",
    "The data folder. It must not lie in a git work tree.",
  ),
  {
    name: "database.url",
    environment: "DATABASE_URL",
    inFile: true,
    default: null,
    description:
      "The PostgreSQL to use. Without it PostgreSQL 18 is embedded and started on demand.",
  },
  inFile(
    "keys.enrol",
    "automatic",
    "Whether the first use of a command's own role makes its key (automatic) or is refused with what to type (manual).",
  ),
  inFile(
    "content.store",
    null,
    "Where runs keep what every node must reach: none, database, folder or s3. If null: database with DATABASE_URL, else none.",
  ),
  inFile("content.folder", null, "For the store folder: a folder that all nodes mount."),
  inFile("content.endpoint", null, "For the store s3: the server's URL, without the bucket."),
  inFile("content.bucket", null, "For the store s3: the bucket."),
  inFile(
    "content.region",
    "us-east-1",
    "For the store s3: the region that requests are signed for.",
  ),
  inFile("content.prefix", "", "For the store s3: what stands before each key, as folders."),
  environmentOnly(
    "content.access_key_id",
    "AWS_ACCESS_KEY_ID",
    null,
    "For the store s3: the key's id. AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN go with it, and are not shown.",
  ),
  inFile(
    "oidc.issuer",
    null,
    "The identity provider (OpenID Connect) whose tokens the HTTP API takes besides its own, as its tokens name it: https://HOST[/PATH]. It needs the next two.",
  ),
  inFile("oidc.audience", null, "What its tokens must be for (`aud`): a name of this API's own."),
  inFile("oidc.tenant_claim", null, "The claim that names the tenant."),
  inFile(
    "oidc.scope_claim",
    "scope",
    "The claim that gives scopes: a text with spaces between, or a list.",
  ),
  inFile(
    "oidc.scopes",
    null,
    "Which of our scopes each value of that claim gives. If null, the values are names of our scopes.",
  ),
  inFile(
    "oidc.tenants",
    null,
    "The tenants for which the provider may speak. If null, every tenant with a policy in the data folder.",
  ),
  inFile(
    "oidc.allow_loopback_http",
    false,
    "For tests: true takes a provider at http:// on this machine.",
  ),
  environmentOnly(
    "passphrase_file",
    "SOVEREIGN_PASSPHRASE_FILE",
    null,
    "A file whose passphrase encrypts the keys. An empty name is refused.",
  ),
  environmentOnly(
    "allow_compatible",
    "SOVEREIGN_ALLOW_COMPATIBLE",
    false,
    'Set to 1 it permits --mode compatible, whose evidence never proves "sovereign".',
  ),
  environmentOnly(
    "agents",
    "SOVEREIGN_AGENTS",
    "~/.cache/sovereign/agents/node_modules",
    "The folder of packages in which `sovereign agent` looks for the programs of coding agents.",
  ),
  environmentOnly(
    "debug",
    "SOVEREIGN_DEBUG",
    false,
    "If it is set, an unexpected error prints its stack.",
  ),
  environmentOnly("no_color", "NO_COLOR", false, "If it is set, nothing is printed in colour."),
  ...Object.entries(scramConfig.shape).map(
    ([name, format]): SettingDeclaration => ({
      name: `scram.${name}`,
      environment: null,
      inFile: true,
      default: format.parse(undefined),
      description: format.description ?? "",
    }),
  ),
];

/**
 * The settings of a process, from its environment and from the data folder's `config.yaml`. The
 * file is read when it is first asked for, and once: a stop needs none of it.
 */
export class Settings {
  /** What children are started with. */
  readonly environment: Environment;
  readonly home: string;
  /** Where trusted programs are looked for. */
  readonly searchPath: string;
  readonly allowCompatible: boolean;
  readonly debug: boolean;
  readonly noColor: boolean;
  #config: Config | null = null;

  /** @throws ERR_DATA_FOLDER where there is no home folder to hold it */
  constructor(environment: Environment) {
    this.environment = environment;
    this.home = locateDataFolder(environment);
    this.searchPath = environment["PATH"] ?? "/usr/bin:/bin";
    this.allowCompatible = environment["SOVEREIGN_ALLOW_COMPATIBLE"] === "1";
    this.debug = (environment["SOVEREIGN_DEBUG"] ?? "") !== "";
    this.noColor = (environment["NO_COLOR"] ?? "") !== "";
  }

  /**
   * What the keys are encrypted with, read when it is asked for; null where they are not.
   * @throws ERR_FILE_UNREADABLE, ERR_KEY_PASSPHRASE
   */
  get passphrase(): ReturnType<typeof passphraseOf> {
    return passphraseOf(this.environment);
  }

  /** @throws ERR_SCRAM_CONFIG, ERR_DATA_FOLDER where `config.yaml` is not as it must be */
  get config(): Config {
    this.#config ??= loadConfig(this.home);
    return this.#config;
  }

  /** The environment's, else that of `config.yaml`; null for the embedded one. */
  get databaseUrl(): string | null {
    return this.environment["DATABASE_URL"] || this.config.database.url;
  }

  /**
   * The same for what must work whatever stands in the place of `config.yaml`: then only the
   * environment counts.
   */
  get switchDatabaseUrl(): string | null {
    try {
      return this.databaseUrl;
    } catch {
      return null;
    }
  }

  /** Those of one data folder, whatever folder the environment names. */
  static of(home: string, environment: Environment): Settings {
    return new Settings({ ...environment, SOVEREIGN_HOME: home });
  }

  /** Every setting with its value and where that comes from. */
  list(): Setting[] {
    return SETTINGS.map((one) => ({ ...one, ...this.#found(one) }));
  }

  #found({ name, environment, inFile, default: fallback }: SettingDeclaration): {
    value: JsonValue;
    source: Setting["source"];
  } {
    const set = environment === null ? "" : (this.environment[environment] ?? "");
    if (set !== "") return { value: this.#shown(name, set), source: "environment" };
    const found = inFile ? this.config.given.get(name) : undefined;
    if (found !== undefined) return { value: this.#shown(name, found), source: "config.yaml" };
    return { value: name === "home" ? this.home : fallback, source: "default" };
  }

  #shown(name: string, value: JsonValue): JsonValue {
    switch (name) {
      case "home":
        return this.home;
      case "database.url":
        return withoutPassword(typeof value === "string" ? value : "");
      case "allow_compatible":
        return this.allowCompatible;
      case "debug":
        return this.debug;
      case "no_color":
        return this.noColor;
      default:
        return value;
    }
  }
}

/** A server's address for people: a password may stand before the host, or among the options. */
function withoutPassword(text: string): string {
  if (!URL.canParse(text)) return "(not shown: it is no URL)";
  const url = new URL(text);
  if (url.password !== "") url.password = "***";
  for (const name of [...url.searchParams.keys()]) {
    if (/pass|secret|key/i.test(name)) url.searchParams.set(name, "***");
  }
  return url.href;
}
