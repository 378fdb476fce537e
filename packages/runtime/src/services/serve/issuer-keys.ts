import { isSovereignError, parseStrictJson, SovereignError } from "@sovereign/core";
import type { CompactVerifyGetKey } from "jose";
import { z } from "zod";
import type { Clock } from "../../system/index.ts";

/** For both documents together. */
const FETCH_MS = 5000;
const DOCUMENT_BYTES_MAX = 256 * 1024;
const KEYS_MAX = 100;
/** From this age on, keys are fetched again while they still count. */
const REFRESH_MS = 5 * 60_000;
/** From this age on they count no more: a key that the provider withdrew counts for so long. */
const AGE_MAX_MS = 10 * 60_000;
/** A token with an unknown key has the keys fetched again, at most so often. */
const UNKNOWN_AGAIN_MS = 30_000;
/** After a failure the provider is not asked again for so long. */
const FAILED_AGAIN_MS = 5000;

const discovery = z.looseObject({ issuer: z.string(), jwks_uri: z.url().max(2048) });
const keySet = z.looseObject({
  keys: z.array(z.looseObject({ kty: z.string() })).max(KEYS_MAX),
});

interface Fetched {
  readonly at: number;
  readonly find: CompactVerifyGetKey;
}

/**
 * The public keys of an identity provider, as it publishes them (OpenID Connect Discovery 1.0). What it
 * answers is untrusted but for what TLS says of whose it is: it is bounded in time and size.
 */
export class IssuerKeys {
  readonly #issuer: string;
  readonly #clock: Clock;
  readonly #onFailure: (error: SovereignError) => void;
  #current: Fetched | null = null;
  #pending: Promise<Fetched> | null = null;
  #failed: { readonly at: number; readonly error: SovereignError } | null = null;

  /** @param onFailure told each time that the provider was asked in vain */
  constructor(issuer: string, clock: Clock, onFailure: (error: SovereignError) => void) {
    this.#issuer = issuer;
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /**
   * The key that a token's header names.
   * @throws ERR_OIDC_UNAVAILABLE where the keys cannot be had, and what jose throws for an unknown one
   */
  readonly find: CompactVerifyGetKey = async (header, token) => {
    const { errors } = await import("jose");
    const fetched = await this.#fresh();
    try {
      return await fetched.find(header, token);
    } catch (error) {
      const isUnknown = error instanceof errors.JWKSNoMatchingKey;
      if (!isUnknown || this.#ageOf(fetched) < UNKNOWN_AGAIN_MS) throw error;
      return (await this.#fetch()).find(header, token);
    }
  };

  #fresh(): Fetched | Promise<Fetched> {
    const current = this.#current;
    const age = current === null ? AGE_MAX_MS : this.#ageOf(current);
    if (current === null || age >= AGE_MAX_MS) return this.#fetch();
    // Those at hand still count: if it fails, whoever comes later tells of it.
    if (age >= REFRESH_MS) this.#fetch().catch(() => undefined);
    return current;
  }

  #ageOf({ at }: Fetched): number {
    return this.#clock.monotonicMs() - at;
  }

  /** Once at a time, for whoever waits. */
  #fetch(): Promise<Fetched> {
    const failed = this.#failed;
    if (failed !== null && this.#clock.monotonicMs() - failed.at < FAILED_AGAIN_MS)
      return Promise.reject(failed.error);
    this.#pending ??= this.#ask().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  async #ask(): Promise<Fetched> {
    const { createLocalJWKSet } = await import("jose");
    // Keys are as old as the question.
    const at = this.#clock.monotonicMs();
    try {
      const { keys } = await fetchKeys(this.#issuer);
      this.#current = { at, find: createLocalJWKSet({ keys }) };
      this.#failed = null;
      return this.#current;
    } catch (cause) {
      const error = unavailable(this.#issuer, cause);
      this.#failed = { at: this.#clock.monotonicMs(), error };
      this.#onFailure(error);
      throw error;
    }
  }
}

async function fetchKeys(issuer: string): Promise<z.infer<typeof keySet>> {
  const signal = AbortSignal.timeout(FETCH_MS);
  const at = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const found = discovery.parse(await fetchJson(at, signal));
  // Discovery 1.0 §4.3: another issuer's document is no word about this one.
  if (found.issuer !== issuer) throw new Error("its document is of another issuer");
  const { protocol, hostname, username } = new URL(found.jwks_uri);
  const isOwn = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  const isSafe = protocol === "https:" || (issuer.startsWith("http:") && isOwn);
  if (!isSafe || username !== "") throw new Error("its jwks_uri is no https:// address");
  return keySet.parse(await fetchJson(found.jwks_uri, signal));
}

async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
  const headers = { accept: "application/json" };
  const answer = await fetch(url, { redirect: "error", signal, headers });
  if (answer.status !== 200) {
    await answer.body?.cancel();
    throw new Error(`it answered ${answer.status}`);
  }
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of answer.body ?? []) {
    length += part.length;
    // What is compressed is counted unpacked.
    if (length > DOCUMENT_BYTES_MAX)
      throw new Error(`it answered with more than ${DOCUMENT_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return parseStrictJson(Buffer.concat(parts), { bytesMax: DOCUMENT_BYTES_MAX });
}

function unavailable(issuer: string, cause: unknown): SovereignError {
  const text = `The keys of the identity provider ${issuer} cannot be had: ${whyOf(cause)}. Its tokens are refused until it answers; look at oidc.* in config.yaml.`;
  return new SovereignError("ERR_OIDC_UNAVAILABLE", text, {}, cause);
}

function whyOf(cause: unknown): string {
  if (cause instanceof z.ZodError || isSovereignError(cause))
    return "its document does not have the expected form";
  if (!(cause instanceof Error)) return "unknown";
  if (cause.name === "TimeoutError") return `it did not answer within ${FETCH_MS} ms`;
  const { cause: below } = cause as { cause?: { code?: string; message?: string } };
  return below?.code ?? below?.message ?? cause.message;
}
