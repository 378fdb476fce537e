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

/** So often somebody is told that a token does not count; then, that it was too often. */
const FAILED = { burst: 30, perSecond: 1 };
/** What is not known costs a look into the database: so many at once for one source, and so many wait. */
const LOOKS_MAX = 2;
const WAITING_MAX = 64;
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
  readonly #looks = new Looks();

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
   * A known caller who asks too often is told so before the database is asked. What is not known is always
   * looked at, a few at a time: a token that counts is not refused for those that do not.
   * @throws ERR_HTTP_RATE, ERR_OIDC_UNAVAILABLE
   */
  async #ownerOf(token: string | null, source: string): Promise<ApiIdentity | null> {
    const key = sha256Hex(utf8Encode(token ?? ""));
    const known = this.#known.get(key);
    if (known !== undefined && this.#ofToken.count(known) > 0) throw tooOften("of this caller");
    const look = (): Promise<ApiIdentity | null> => this.#authenticate(token, source);
    const owner = await (known === undefined ? this.#looks.take(source, look) : look());
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

  /** @throws ERR_HTTP_RATE */
  #countRefusal(source: string): void {
    if (this.#failed.count(source) > 0) throw tooOften("that were refused");
  }
}

/** Looks a few tokens of one source up at once. */
class Looks {
  readonly #of = new Map<string, { running: number; readonly waiting: (() => void)[] }>();

  /** @throws ERR_HTTP_RATE where as many wait as may */
  async take<T>(source: string, look: () => Promise<T>): Promise<T> {
    const own = this.#of.get(source) ?? { running: 0, waiting: [] };
    this.#of.set(source, own);
    if (own.running < LOOKS_MAX) own.running += 1;
    else if (own.waiting.length >= WAITING_MAX) throw tooOften("with tokens that are not known");
    else await new Promise<void>((begin) => own.waiting.push(begin));
    try {
      return await look();
    } finally {
      // Whoever waited longest takes the place.
      const next = own.waiting.shift();
      if (next === undefined) own.running -= 1;
      if (own.running === 0) this.#of.delete(source);
      next?.();
    }
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
