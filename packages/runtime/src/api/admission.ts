import type { IncomingMessage } from "node:http";
import { sha256Hex, SovereignError, utf8Encode } from "@sovereign/core";
import { RateLimits, sourceOf } from "../scram-http/index.ts";
import { type ApiIdentity, type ApiServices, callerName } from "../services/index.ts";
import { systemClock } from "../system/index.ts";
import type { Caller, Route } from "./route.ts";

/** How many requests a token may make, in a second on average. */
export interface ApiRates {
  readonly perSecond: number;
}

/** What cannot be told whose it is costs a look into the database: so many at once from one source. */
const FAILED = { burst: 30, perSecond: 1 };
const HEAVY_SHARE = 10;
const KEPT_MAX = 10_000;

/** Lets in who has a token that counts, for what it is good for, as often as it may. */
export class Admission {
  readonly #services: ApiServices;
  readonly #ofToken: RateLimits;
  readonly #heavy: RateLimits;
  readonly #failed = new RateLimits(systemClock, FAILED);
  /**
   * Digests of tokens that counted, and by what their callers' limits are counted: a flood from the same
   * address does not keep them out.
   */
  readonly #known = new Map<string, string>();
  /** Addresses from which too much was refused, and until when nothing unknown is looked at. */
  readonly #refused = new Map<string, number>();

  constructor(services: ApiServices, { perSecond }: ApiRates) {
    this.#services = services;
    const heavy = Math.max(1, perSecond / HEAVY_SHARE);
    this.#ofToken = new RateLimits(systemClock, { burst: 2 * perSecond, perSecond });
    this.#heavy = new RateLimits(systemClock, { burst: 2 * heavy, perSecond: heavy });
  }

  /** @throws ERR_HTTP_UNAUTHENTICATED, ERR_HTTP_SCOPE, ERR_HTTP_RATE, ERR_OIDC_UNAVAILABLE */
  async admit({ scope, isHeavy }: Route, request: IncomingMessage): Promise<Caller> {
    if (scope === "public") return NOBODY;
    const token = bearerOf(request);
    const owner = await this.#ownerOf(token, sourceOf(request.socket));
    if (owner === null || token === null) throw unauthenticated();
    const name = callerName(owner);
    if (isHeavy === true && this.#heavy.count(name) > 0) throw tooOften("that cost much");
    if (scope !== null && !owner.scopes.includes(scope)) {
      const found = owner.scopes.join(", ") || "none";
      const text = `Expected a token with the scope ${scope}, found ${found}.`;
      throw new SovereignError("ERR_HTTP_SCOPE", text);
    }
    const stillCounts = async (): Promise<boolean> =>
      (await this.#services.authenticate(token)) !== null;
    return { ...owner, name, stillCounts };
  }

  /**
   * Who asks too often is told so before the database is asked.
   * @throws ERR_HTTP_RATE, ERR_OIDC_UNAVAILABLE
   */
  async #ownerOf(token: string | null, source: string): Promise<ApiIdentity | null> {
    const key = sha256Hex(utf8Encode(token ?? ""));
    const known = this.#known.get(key);
    if (known !== undefined && this.#ofToken.count(known) > 0) throw tooOften("of this caller");
    if (known === undefined && (this.#refused.get(source) ?? 0) > systemClock.monotonicMs())
      throw tooOften("that were refused");
    const owner = await this.#authenticate(token, source);
    if (owner === null) {
      this.#known.delete(key);
      this.#countRefusal(source);
      return null;
    }
    const name = callerName(owner);
    // Whoever has a new token for each request is one caller all the same.
    if (known === undefined && this.#ofToken.count(name) > 0) throw tooOften("of this caller");
    keep(this.#known, key, name);
    return owner;
  }

  async #authenticate(token: string | null, source: string): Promise<ApiIdentity | null> {
    try {
      return token === null ? null : await this.#services.authenticate(token);
    } catch (error) {
      // It may be anybody's: while nothing can be told, a flood of such tokens is one as every other.
      this.#countRefusal(source);
      throw error;
    }
  }

  #countRefusal(source: string): void {
    const seconds = this.#failed.count(source);
    if (seconds > 0) keep(this.#refused, source, systemClock.monotonicMs() + seconds * 1000);
  }
}

/** The newest so many. */
function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > KEPT_MAX && oldest !== undefined) map.delete(oldest);
}

const NOBODY: Caller = {
  kind: "token",
  name: "",
  tenantId: "",
  tokenId: "",
  scopes: [],
  expiresAt: "",
  stillCounts: () => Promise.resolve(true),
};

/** The one token of a request; null where there is none, or more than one. */
function bearerOf({ headersDistinct }: IncomingMessage): string | null {
  const [header, ...others] = headersDistinct["authorization"] ?? [];
  if (header === undefined || others.length > 0) return null;
  return /^Bearer ([\x21-\x7e]{1,12002})$/i.exec(header)?.[1] ?? null;
}

/** The same for whatever is wrong: whoever tries learns nothing of which tokens there are. */
function unauthenticated(): SovereignError {
  const text = "Expected the header Authorization: Bearer TOKEN, with a token that counts.";
  return new SovereignError("ERR_HTTP_UNAUTHENTICATED", text);
}

function tooOften(which: string): SovereignError {
  return new SovereignError("ERR_HTTP_RATE", `There are too many requests ${which}: wait.`);
}
