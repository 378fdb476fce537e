import { type ApiCaller, type ApiScope, sha256Hex, utf8Encode } from "@sovereign/core";
import type { TokenOwner } from "../../installation/index.ts";

/** Who presents a token of ours. */
export interface TokenIdentity extends TokenOwner {
  readonly kind: "token";
}

/** Who presents a token of the identity provider. */
export interface OidcIdentity {
  readonly kind: "oidc";
  readonly tenantId: string;
  readonly issuer: string;
  readonly subject: string;
  /** May be none: then it is good for nothing but to be asked whose it is. */
  readonly scopes: readonly ApiScope[];
  readonly expiresAt: string;
}

/** Who presents a token that counts. */
export type ApiIdentity = TokenIdentity | OidcIdentity;

/**
 * A name for whoever acts over the network, which is recorded: the token's, or the digest of issuer and
 * subject, because these are longer than a name may be. Whoever knows both computes it again:
 * `printf 'ISSUER\nSUBJECT' | sha256sum`.
 */
export function callerName(identity: ApiIdentity): string {
  if (identity.kind === "token") return `token ${identity.tokenId}`;
  return `subject ${sha256Hex(utf8Encode(`${identity.issuer}\n${identity.subject}`))}`;
}

/** As the run's first entry names them. */
export function callerOf(identity: ApiIdentity): ApiCaller {
  const scopes = [...identity.scopes];
  if (identity.kind === "token") return { door: "http", token_id: identity.tokenId, scopes };
  return { door: "http", issuer: identity.issuer, subject: identity.subject, scopes };
}
