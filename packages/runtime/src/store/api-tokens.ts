import { createHash } from "node:crypto";
import { INSTALLATION_LOG, fixClass } from "@sovereign/core";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";
import type { FoundToken, NewToken, TokenRow, Tokens } from "./tokens.ts";

const CLAIM = claimOf(INSTALLATION_LOG, "tokens");

/** Tokens of the HTTP API. The database has their digests, and judges by its own clock. */
export class ApiTokens implements Tokens {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
    Object.freeze(this);
  }

  async issue(token: NewToken): Promise<boolean> {
    const { tenantId, tokenId, label, scopes, expiresAt } = token;
    const values = [tenantId, tokenId, hashOf(token.token), label, scopes, expiresAt];
    return this.#database.transaction(CLAIM, async (client) => {
      const found = await client.query<{ done: boolean }>(
        "select sovereign.token_issue($1, $2, $3, $4, $5, $6) as done",
        values,
      );
      return found.rows[0]?.done === true;
    });
  }

  async revoke(tenantId: string, tokenId: string): Promise<boolean> {
    return this.#database.read(CLAIM, async (client) => {
      const found = await client.query<{ known: boolean }>(
        "select sovereign.token_revoke($1, $2) as known",
        [tenantId, tokenId],
      );
      return found.rows[0]?.known === true;
    });
  }

  async find(token: string): Promise<FoundToken | null> {
    return this.#database.read(CLAIM, async (client) => {
      const found = await client.query<FoundRecord>(
        "select tenant, id, granted, expires, state from sovereign.token_find($1)",
        [hashOf(token)],
      );
      const [row] = found.rows;
      if (row === undefined) return null;
      const { tenant: tenantId, id: tokenId, granted: scopes, expires, state } = row;
      return { tenantId, tokenId, scopes, expiresAt: expires.toISOString(), state };
    });
  }

  async count(): Promise<number> {
    return this.#database.read(CLAIM, async (client) => {
      const found = await client.query<{ count: string }>(
        "select sovereign.token_count() as count",
      );
      return Number(found.rows[0]?.count);
    });
  }

  async list(tenantId: string): Promise<TokenRow[]> {
    return this.#database.read(claimOf(tenantId), async (client) => {
      const found = await client.query<TokenRecord>(
        "select token_id, label, scopes, created_at, expires_at, revoked_at from sovereign.tokens order by created_at desc, token_id limit 10000",
      );
      return found.rows.map((row) => ({
        tokenId: row.token_id,
        label: row.label,
        scopes: row.scopes,
        createdAt: row.created_at.toISOString(),
        expiresAt: row.expires_at.toISOString(),
        revokedAt: row.revoked_at?.toISOString() ?? null,
      }));
    });
  }
}

fixClass(ApiTokens);

interface FoundRecord {
  readonly tenant: string;
  readonly id: string;
  readonly granted: string[];
  readonly expires: Date;
  readonly state: FoundToken["state"];
}

interface TokenRecord {
  readonly token_id: string;
  readonly label: string;
  readonly scopes: string[];
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly revoked_at: Date | null;
}

/** It has 256 random bits: no salt and no slow function make it harder to guess. */
function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
