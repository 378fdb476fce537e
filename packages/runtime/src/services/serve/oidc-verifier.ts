import {
  API_SCOPES,
  type ApiScope,
  fields,
  INSTALLATION_LOG,
  isSovereignError,
  type SovereignError,
} from "@sovereign/core";
import type { JWTHeaderParameters, JWTPayload } from "jose";
import type { Config } from "../../home/index.ts";
import type { Clock } from "../../system/index.ts";
import type { OidcIdentity } from "./identity.ts";
import { IssuerKeys } from "./issuer-keys.ts";

/** Asymmetric alone: with a shared secret, whoever verifies could issue. */
const ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"];
const CLOCK_TOLERANCE_S = 30;
/** Nobody can revoke such a token: one that is older is refused, whatever it says of its end. */
const AGE_MAX_S = 86_400;
/** Those of RFC 7519 and RFC 9068: what is typed otherwise was issued for something else. */
const TYPES = ["jwt", "at+jwt", "application/at+jwt"];
export const JWT = /^[\w-]{1,2000}\.[\w-]{1,8000}\.[\w-]{0,2000}$/;

/** Why a token does not count, in words that hold nothing of it. */
export type OidcRefusal =
  | "malformed"
  | "algorithm"
  | "type"
  | "key"
  | "signature"
  | "issuer"
  | "audience"
  | "expired"
  | "not_yet_valid"
  | "issued_at"
  | "bound_to_a_key"
  | "subject"
  | "tenant_claim"
  | "tenant_unknown";

export type OidcVerdict =
  | { readonly identity: OidcIdentity; readonly refused: null }
  | { readonly identity: null; readonly refused: OidcRefusal };

export interface OidcOptions {
  readonly settings: Config["oidc"] & { readonly issuer: string };
  readonly clock: Clock;
  /** Whether the operator has this tenant here. */
  readonly hasTenant: (tenantId: string) => boolean;
  /** Told each time that the provider was asked in vain. */
  readonly onFailure: (error: SovereignError) => void;
}

/**
 * Tokens of an identity provider (OpenID Connect): signed by a key that it publishes, for this API, for a
 * tenant that a claim names.
 */
export class OidcVerifier {
  readonly #options: OidcOptions;
  readonly #keys: IssuerKeys;

  constructor(options: OidcOptions) {
    this.#options = options;
    const { settings, clock, onFailure } = options;
    this.#keys = new IssuerKeys(settings.issuer, clock, onFailure);
  }

  /**
   * @param token untrusted
   * @throws ERR_OIDC_UNAVAILABLE where the provider's keys cannot be had
   */
  async verify(token: string): Promise<OidcVerdict> {
    if (!JWT.test(token)) return refuse("malformed");
    const { jwtVerify } = await import("jose");
    const { issuer, audience } = this.#options.settings;
    try {
      const { payload, protectedHeader } = await jwtVerify(token, this.#keys.find, {
        issuer,
        // Never null beside an issuer; nothing is for the empty one.
        audience: audience ?? "",
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_S,
        maxTokenAge: AGE_MAX_S,
        requiredClaims: ["exp", "sub"],
        currentDate: this.#options.clock.now(),
      });
      return this.#judge(payload, protectedHeader);
    } catch (error) {
      if (isSovereignError(error)) throw error;
      return refuse(refusalOf(error));
    }
  }

  #judge(payload: JWTPayload, { typ }: JWTHeaderParameters): OidcVerdict {
    const { issuer } = this.#options.settings;
    if (typ !== undefined && !TYPES.includes(typ.toLowerCase())) return refuse("type");
    // RFC 7800: whoever presents it must prove to have a key, and nothing here asks for that.
    if (payload["cnf"] !== undefined) return refuse("bound_to_a_key");
    const subject = fields.oidcSubject.safeParse(payload.sub);
    if (!subject.success) return refuse("subject");
    const tenantId = this.#tenantIn(payload);
    if (tenantId === null) return refuse("tenant_claim");
    if (!this.#mayBe(tenantId)) return refuse("tenant_unknown");
    const { exp = 0, iat = 0 } = payload;
    const endsAt = Math.min(exp, iat + AGE_MAX_S) + CLOCK_TOLERANCE_S;
    return {
      identity: {
        kind: "oidc",
        tenantId,
        issuer,
        subject: subject.data,
        scopes: this.#scopesIn(payload),
        expiresAt: new Date(endsAt * 1000).toISOString(),
      },
      refused: null,
    };
  }

  /** Null where the claim names none. */
  #tenantIn(payload: JWTPayload): string | null {
    const claim = own(payload, this.#options.settings.tenant_claim ?? "");
    const { data = INSTALLATION_LOG } = fields.name.safeParse(claim);
    return data === INSTALLATION_LOG ? null : data;
  }

  #mayBe(tenantId: string): boolean {
    const { settings, hasTenant } = this.#options;
    return settings.tenants?.includes(tenantId) !== false && hasTenant(tenantId);
  }

  #scopesIn(payload: JWTPayload): ApiScope[] {
    const { scope_claim, scopes } = this.#options.settings;
    const claim = own(payload, scope_claim);
    const values: unknown[] =
      typeof claim === "string" ? claim.split(" ") : Array.isArray(claim) ? claim : [];
    const given =
      scopes === null
        ? values
        : values.flatMap((value) => (typeof value === "string" ? (own(scopes, value) ?? []) : []));
    return API_SCOPES.filter((scope) => given.includes(scope));
  }
}

function refuse(refused: OidcRefusal): OidcVerdict {
  return { identity: null, refused };
}

/** A name that somebody chose leads to what stands there, and to nothing of JavaScript's. */
function own<T>(object: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

const OF_CLAIM: Readonly<Record<string, OidcRefusal>> = {
  iss: "issuer",
  aud: "audience",
  exp: "expired",
  nbf: "not_yet_valid",
  iat: "issued_at",
  sub: "subject",
};

/** By jose's codes: its texts name claims and no values. */
function refusalOf(error: unknown): OidcRefusal {
  const { code, claim = "" } = (error ?? {}) as { code?: string; claim?: string };
  switch (code) {
    case "ERR_JOSE_ALG_NOT_ALLOWED":
      return "algorithm";
    case "ERR_JWS_SIGNATURE_VERIFICATION_FAILED":
      return "signature";
    case "ERR_JWT_EXPIRED":
    case "ERR_JWT_CLAIM_VALIDATION_FAILED":
      return OF_CLAIM[claim] ?? "malformed";
    case "ERR_JOSE_NOT_SUPPORTED":
    case "ERR_JWS_INVALID":
    case "ERR_JWT_INVALID":
      return "malformed";
    default:
      // An unknown key, one of several, or one that is none for the algorithm.
      return "key";
  }
}
