import { userInfo } from "node:os";
import { type ApiScope, parseFormat, fields, quoted, SovereignError } from "@sovereign/core";
import type { TokenRow } from "../store/index.ts";
import { newId, systemEntropy } from "../system/index.ts";
import type { Installation } from "./installation.ts";
import { recordLedgerEvent } from "./ledger-record.ts";

type Place = Pick<Installation, "store" | "clock" | "node">;

/** Whoever finds one in a file or a log knows what it is. */
export const TOKEN_PREFIX = "sovt_";
const TOKEN = /^sovt_[A-Za-z0-9_-]{43}$/;
const SECRET_BYTES = 32;

/** A token that was just made: the only time that anybody sees it. */
export interface IssuedToken {
  readonly tokenId: string;
  readonly token: string;
  readonly expiresAt: string;
}

/** Who presents a token that counts. */
export interface TokenOwner {
  readonly tenantId: string;
  readonly tokenId: string;
  readonly scopes: readonly ApiScope[];
  readonly expiresAt: string;
}

/**
 * Make a token of a tenant. That it was made is recorded before it counts, without the token.
 * @throws ERR_TOKEN_INVALID
 */
export async function issueToken(
  { store, clock, node }: Place,
  asked: { tenantId: string; scopes: readonly ApiScope[]; label: string; validMs: number },
): Promise<IssuedToken> {
  const { tenantId, label } = asked;
  const tokenId = newId("tok_", systemEntropy);
  const token = `${TOKEN_PREFIX}${Buffer.from(systemEntropy.bytes(SECRET_BYTES)).toString("base64url")}`;
  const expiresAt = new Date(clock.now().getTime() + asked.validMs).toISOString();
  const scopes = [...new Set(asked.scopes)].sort();
  const about = { token_id: tokenId, scopes, label, expires_at: expiresAt };
  const told = parseFormat(fields.apiToken, about, "the token", "ERR_TOKEN_INVALID");
  const data = { tenant_id: tenantId, ...told, by: typedBy(node) };
  await recordLedgerEvent(store, clock, "ledger.token_issued", "INFO", data);
  if (await store.tokens.issue({ tenantId, tokenId, token, label, scopes, expiresAt }))
    return { tokenId, token, expiresAt };
  const text = `The tenant ${tenantId} has 1000 tokens that count, and no more are made. Revoke one first: sovereign tokens list --tenant ${tenantId}`;
  throw new SovereignError("ERR_TOKEN_INVALID", text);
}

/**
 * Have a token count no more, from now on.
 * @throws ERR_TOKEN_NOT_FOUND
 */
export async function revokeToken(
  { store, clock, node }: Place,
  tenantId: string,
  tokenId: string,
): Promise<void> {
  const known = await store.tokens.list(tenantId);
  const found = known.find((one) => one.tokenId === tokenId);
  if (found === undefined) {
    const text = `The tenant ${tenantId} has no token ${quoted(tokenId)}. Its tokens: sovereign tokens list --tenant ${tenantId}`;
    throw new SovereignError("ERR_TOKEN_NOT_FOUND", text);
  }
  if (found.revokedAt !== null) return;
  // Killed between the two, it is recorded again by whoever types it again.
  const data = { tenant_id: tenantId, token_id: tokenId, by: typedBy(node) };
  await recordLedgerEvent(store, clock, "ledger.token_revoked", "WARNING", data);
  await store.tokens.revoke(tenantId, tokenId);
}

/**
 * Whose token it is; null for whatever does not count.
 * @param token untrusted
 */
export async function findToken(
  { store }: Pick<Installation, "store">,
  token: string,
): Promise<TokenOwner | null> {
  if (!TOKEN.test(token)) return null;
  const found = await store.tokens.find(token);
  if (found?.state !== "valid") return null;
  const { tenantId, tokenId, expiresAt } = found;
  // A scope of a later version is none of ours.
  const scopes = found.scopes.filter(
    (scope): scope is ApiScope => fields.apiToken.shape.scopes.element.safeParse(scope).success,
  );
  return { tenantId, tokenId, scopes, expiresAt };
}

export function listTokens(
  { store }: Pick<Installation, "store">,
  tenantId: string,
): Promise<TokenRow[]> {
  return store.tokens.list(tenantId);
}

/** By the system's word: whoever may act as that user may say so, too. */
export function typedBy({ id }: Installation["node"]): { user: string; node_id: string } {
  let user: string;
  try {
    user = userInfo().username;
  } catch {
    // A user without an entry in the system's table has a number only.
    user = `uid ${String(process.getuid?.() ?? "unknown")}`;
  }
  return { user: user.slice(0, 200), node_id: id };
}
