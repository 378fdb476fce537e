import { existsSync } from "node:fs";
import type { SovereignError } from "@sovereign/core";
import { type Config, type Settings, tenantPolicyFile } from "../../home/index.ts";
import { findToken } from "../../installation/index.ts";
import { type Clock, systemClock } from "../../system/index.ts";
import type { Opened } from "../opened.ts";
import type { ApiIdentity } from "./identity.ts";
import { JWT, type OidcRefusal, OidcVerifier } from "./oidc-verifier.ts";

/** Whose token it is, or why it does not count. */
export type TokenVerdict =
  | { readonly identity: ApiIdentity; readonly refused: null }
  | { readonly identity: null; readonly refused: OidcRefusal | "unknown" };

export interface Authenticator {
  /** True where tokens of an identity provider are taken, too. */
  readonly takesOidc: boolean;
  /**
   * @param token untrusted
   * @throws ERR_OIDC_UNAVAILABLE
   */
  readonly judge: (token: string) => Promise<TokenVerdict>;
}

/**
 * Judges what callers present: tokens of ours, and those of the identity provider of `config.yaml`.
 * @param look opens the installation
 * @param onFailure told when the provider was asked in vain
 */
export function openAuthenticator(
  settings: Settings,
  look: Opened,
  onFailure: (error: SovereignError) => void,
  clock: Clock = systemClock,
): Authenticator {
  const verifier = verifierOf(settings, onFailure, clock);
  return {
    takesOidc: verifier !== null,
    judge: async (token) => {
      if (verifier !== null && JWT.test(token)) return verifier.verify(token);
      const owner = await look((installation) => findToken(installation, token));
      if (owner === null) return { identity: null, refused: "unknown" };
      return { identity: { kind: "token", ...owner }, refused: null };
    },
  };
}

function verifierOf(
  settings: Settings,
  onFailure: (error: SovereignError) => void,
  clock: Clock,
): OidcVerifier | null {
  const { oidc } = settings.config;
  if (!isSet(oidc)) return null;
  // Whom the operator gave no policy is no tenant of ours, whatever a provider says.
  const hasTenant = (tenantId: string): boolean =>
    existsSync(tenantPolicyFile(settings.home, tenantId));
  return new OidcVerifier({ settings: oidc, clock, hasTenant, onFailure });
}

function isSet(oidc: Config["oidc"]): oidc is Config["oidc"] & { readonly issuer: string } {
  return oidc.issuer !== null;
}
