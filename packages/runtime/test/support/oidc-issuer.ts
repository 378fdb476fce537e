import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { JWK } from "jose";

const PROGRAM = join(import.meta.dirname, "oidc-issuer-program.ts");

/** Claims as they come: what is undefined is not there. */
export type Claims = Readonly<Record<string, unknown>>;

interface Signed {
  readonly kid?: string;
  readonly header?: object;
}

/** An identity provider, in a process of its own. */
export class OidcIssuer {
  readonly #child: ChildProcess;
  readonly url: string;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(): Promise<OidcIssuer> {
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", PROGRAM], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [url] = (await once(createInterface(child.stdout), "line")) as [string];
    return new OidcIssuer(child, url);
  }

  /** Claims of a token that counts, for the settings of {@link oidcSection}. */
  claims(more: Claims = {}): Claims {
    const now = Math.floor(performance.timeOrigin / 1000 + performance.now() / 1000);
    return {
      iss: this.url,
      aud: "sovereign-api",
      sub: "robot-7",
      iat: now,
      exp: now + 600,
      tenant: "acme",
      scope: "openid runs:read runs:write",
      ...more,
    };
  }

  sign(payload: Claims, { kid = "first", header = {} }: Signed = {}): Promise<string> {
    return this.#tell("sign", { kid, header, payload });
  }

  addKey(kid: string, alg: string): Promise<null> {
    return this.#tell("key", { kid, alg });
  }

  publish(...kids: string[]): Promise<null> {
    return this.#tell("publish", { kids });
  }

  behave(as: string): Promise<null> {
    return this.#tell("behave", { as });
  }

  /** How many times it was asked for a document. */
  asked(): Promise<number> {
    return this.#tell("asked", {});
  }

  async publicKeys(): Promise<JWK[]> {
    const answer = await fetch(`${this.url}/keys`);
    return ((await answer.json()) as { keys: JWK[] }).keys;
  }

  async #tell<T>(command: string, words: object): Promise<T> {
    const init = { method: "POST", body: JSON.stringify(words) };
    const answer = await fetch(`${this.url}/${command}`, init);
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()) as T;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}

/** The section `oidc` of `config.yaml` for a provider. */
export function oidcSection(issuer: string, more: object = {}): object {
  return {
    issuer,
    audience: "sovereign-api",
    tenant_claim: "tenant",
    allow_loopback_http: true,
    ...more,
  };
}
