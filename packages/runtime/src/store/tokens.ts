/** A token as its tenant's row says; the token itself is nowhere. */
export interface TokenRow {
  readonly tokenId: string;
  readonly label: string;
  readonly scopes: readonly string[];
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly revokedAt: string | null;
}

/** What a token is good for, whoever presents it. */
export interface FoundToken {
  readonly tenantId: string;
  readonly tokenId: string;
  readonly scopes: readonly string[];
  readonly expiresAt: string;
  readonly state: "valid" | "revoked" | "expired";
}

export interface NewToken {
  readonly tenantId: string;
  readonly tokenId: string;
  readonly token: string;
  readonly label: string;
  readonly scopes: readonly string[];
  readonly expiresAt: string;
}

/** Tokens of the HTTP API, without what they are kept in. */
export interface Tokens {
  /** @returns false where the tenant has as many as it may */
  issue(token: NewToken): Promise<boolean>;
  /** From its commit on it counts no more. @returns false where there is no such token */
  revoke(tenantId: string, tokenId: string): Promise<boolean>;
  /** @param token untrusted */
  find(token: string): Promise<FoundToken | null>;
  /** How many count now, of all tenants. */
  count(): Promise<number>;
  /** Of one tenant, the newest first. */
  list(tenantId: string): Promise<TokenRow[]>;
}
