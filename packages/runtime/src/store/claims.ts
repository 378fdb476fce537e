import { createHash, createHmac } from "node:crypto";
import { INSTALLATION_LOG } from "@sovereign/core";
import type { CommitItem } from "../ledger/index.ts";

/** Who holds more secrets than this derives some of them again. */
const KEPT_MAX = 10_000;

/** What functions of the installation's log a claim is for, beside the streams' names. */
export type InstallationClaim = "read" | "checkpoint" | "tokens" | "dispatch";

/** The name of the claim that reads a log's rows, and writes a tenant's. */
export function claimOf(log: string, kind: InstallationClaim = "read"): string {
  return log === INSTALLATION_LOG ? `${INSTALLATION_LOG}/${kind}` : `tenant/${log}`;
}

/** The names of the claims that a batch of items needs, each once. */
export function claimsOf(items: readonly CommitItem[]): string[] {
  return [
    ...new Set(
      items.map(({ log, stream }) =>
        log === INSTALLATION_LOG ? `${INSTALLATION_LOG}/${stream}` : claimOf(log),
      ),
    ),
  ];
}

/**
 * Makes the claims without which the database shows no row and takes none. Each log has a secret of
 * its own, derived from the installation's: who holds one log's secret can claim nothing else.
 *
 * @see docs/spec/ledger.md "Claims"
 */
export class Claims {
  readonly #derive: (name: string, generation: number) => Uint8Array;
  readonly #secrets = new Map<string, Uint8Array>();
  /** Of those that were replaced; all others are of generation 0. */
  #generations: ReadonlyMap<string, number> = new Map();

  /** @param secret the installation's, 32 bytes */
  constructor(secret: Uint8Array) {
    this.#derive = (name, generation) => deriveClaimSecret(secret, name, generation);
  }

  /** What the database says of claims that were replaced. @returns whether any is new */
  learn(generations: ReadonlyMap<string, number>): boolean {
    const changed = [...generations].filter(([name, now]) => now !== this.generationOf(name));
    this.#generations = generations;
    for (const [name] of changed) this.#secrets.delete(name);
    return changed.length > 0;
  }

  generationOf(name: string): number {
    return this.#generations.get(name) ?? 0;
  }

  /** The setting that lets one transaction see the rows of the claim's log. */
  forTransaction(name: string, challenge: string): string {
    const mac = createHmac("sha256", this.#secretOf(name));
    return `${mac.update(`sovereign.transaction/${challenge}`).digest("hex")}${name}`;
  }

  /** One MAC for each name, good for one call with exactly these parameters. */
  forBatch(names: readonly string[], digest: Uint8Array): Uint8Array[] {
    return names.map((name) =>
      createHmac("sha256", this.#secretOf(name)).update("sovereign.batch/").update(digest).digest(),
    );
  }

  /** What a process that is to make this one claim is given, and no more. */
  secretOf(name: string, generation: number): Uint8Array {
    return this.#derive(name, generation);
  }

  #secretOf(name: string): Uint8Array {
    const known = this.#secrets.get(name);
    if (known !== undefined) return known;
    if (this.#secrets.size >= KEPT_MAX) this.#secrets.clear();
    const derived = this.#derive(name, this.generationOf(name));
    this.#secrets.set(name, derived);
    return derived;
  }
}

/** One block of HKDF-Expand (RFC 5869 §2.3): what a process that serves one tenant is given. */
export function deriveClaimSecret(
  secret: Uint8Array,
  name: string,
  generation: number,
): Uint8Array {
  const label = `sovereign.claim${generation > 0 ? `.${generation}` : ""}`;
  return createHmac("sha256", secret).update(`${label}/${name}\u0001`).digest();
}

/** Where a null column of a call stands in its digest. */
const NONE = Buffer.of(0);

/**
 * The digest of the parameters of `commit_batch`, in the order in which the function takes it. Arrays
 * are hashed in the binary form in which they travel.
 *
 * @param values as `commitParameters` made them
 */
export function digestOfCall(values: readonly unknown[]): Uint8Array {
  const columns = values.slice(0, 22).map((value) => (value as Buffer | null) ?? NONE);
  const [rows, batch] = values.slice(22) as [string | null, string];
  const [entryBytes = NONE] = columns.splice(10, 1);
  const envelopeBytes = columns.pop() ?? NONE;
  const digest = createHash("sha256").update(sha256(entryBytes)).update(sha256(envelopeBytes));
  for (const column of columns) digest.update(column);
  return digest
    .update(sha256(rows ?? ""))
    .update(batch)
    .digest();
}

function sha256(data: string | Uint8Array): Uint8Array {
  return createHash("sha256").update(data).digest();
}
