import { SovereignError } from "@sovereign/core";
import { fillSecrets, type OpenedSecret, secretsNamedIn } from "../agents/index.ts";

/** Puts the secrets of one step in where they are referred to. */
export class SecretPlaces {
  readonly #names: ReadonlySet<string>;
  readonly #open: (name: string) => Promise<OpenedSecret>;
  /** As policies name it. */
  readonly #host: string;
  readonly #isProtected: boolean;
  readonly #used = new Map<string, OpenedSecret>();

  /**
   * @param names what the step refers to
   * @param host where it all goes
   * @param isProtected true where nobody on the way can read it
   */
  constructor(
    names: readonly string[],
    open: (name: string) => Promise<OpenedSecret>,
    host: string,
    isProtected: boolean,
  ) {
    this.#names = new Set(names);
    this.#open = open;
    this.#host = host;
    this.#isProtected = isProtected;
  }

  get used(): readonly OpenedSecret[] {
    return [...this.#used.values()];
  }

  /** @throws ERR_SECRET_UNKNOWN, ERR_SECRET_DENIED */
  async fill(text: string): Promise<string> {
    const values = new Map<string, string>();
    for (const name of secretsNamedIn(text)) {
      values.set(name, (await this.#secret(name)).value);
    }
    return fillSecrets(text, (name) => values.get(name) ?? "");
  }

  async #secret(name: string): Promise<OpenedSecret> {
    if (!this.#names.has(name)) throw denied(name, "the step does not refer to it");
    const known = this.#used.get(name);
    if (known !== undefined) return known;
    const secret = await this.#open(name);
    if (!secret.hosts.includes(this.#host)) {
      throw denied(name, `it may be sent to ${secret.hosts.join(", ")}, not to ${this.#host}`);
    }
    if (!this.#isProtected) throw denied(name, `it goes to ${this.#host} by TLS, or not at all`);
    this.#used.set(name, secret);
    return secret;
  }
}

function denied(name: string, why: string): SovereignError {
  return new SovereignError("ERR_SECRET_DENIED", `The secret ${name} is not sent: ${why}.`);
}
