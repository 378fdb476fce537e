import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findToken } from "../../src/installation/index.ts";
import type { TokenInput } from "../../src/services/index.ts";
import { tokenServices } from "../../src/services/token-services.ts";
import { beginWith, claimsBy } from "../support/claims.ts";
import { schemaFaults } from "../support/event-schemas.ts";
import { type GoalRig, openGoalRig } from "../support/goal-rig.ts";

let rig: GoalRig;
let tokens: ReturnType<typeof tokenServices>;
beforeAll(async () => {
  rig = await openGoalRig();
  tokens = tokenServices((work) => work(rig.installation));
});
afterAll(() => rig.close());

const DAY_MS = 86_400_000;
const wanted = (more: Partial<TokenInput> = {}): TokenInput => ({
  tenantId: "acme",
  scopes: ["runs:write", "runs:read"],
  label: "of the billing system",
  validMs: DAY_MS,
  ...more,
});

describe("a token", () => {
  it("is its tenant's, with its scopes, and is found by its text alone", async () => {
    const { token, tokenId, expiresAt } = await tokens.createToken(wanted());
    expect(token).toMatch(/^sovt_[A-Za-z0-9_-]{43}$/);
    expect(await findToken(rig.installation, token)).toEqual({
      tenantId: "acme",
      tokenId,
      scopes: ["runs:read", "runs:write"],
      expiresAt,
    });
    const other = token.slice(0, -5) + (token.endsWith("AAAAA") ? "BBBBB" : "AAAAA");
    for (const wrong of ["", "sovt_", tokenId, other, `${token} `, token.toUpperCase()])
      expect(await findToken(rig.installation, wrong)).toBeNull();
  });

  it("is nowhere: neither in a row nor in the ledger, which says who made it and ended it", async () => {
    const { token, tokenId } = await tokens.createToken(wanted());
    await tokens.revokeToken("acme", tokenId);
    const { rows } = await rig.owner.query<{ text: string }>(
      "select row_to_json(t)::text as text from sovereign.tokens t union all select encode(bytes, 'escape') from sovereign.entries where log_id = 'installation'",
    );
    const all = rows.map(({ text }) => text).join("\n");
    expect(all).not.toContain(token.slice(5, 40));
    const told = rows.filter(({ text }) => text.includes(tokenId) && text.includes("event_type"));
    const entries = told.map(({ text }) => JSON.parse(text) as Entry);
    expect(entries.map(({ event_type }) => event_type)).toEqual([
      "ledger.token_issued",
      "ledger.token_revoked",
    ]);
    for (const { event_type, data } of entries) {
      expect(data).toMatchObject({ tenant_id: "acme", by: { node_id: rig.installation.node.id } });
      expect(schemaFaults(event_type, data)).toEqual([]);
    }
  });

  it("counts no more once it is revoked, or has expired", async () => {
    const { token, tokenId } = await tokens.createToken(wanted());
    await tokens.revokeToken("acme", tokenId);
    expect(await findToken(rig.installation, token)).toBeNull();
    await tokens.revokeToken("acme", tokenId);
    const short = await tokens.createToken(wanted({ validMs: 1 }));
    await sleep(5);
    expect(await findToken(rig.installation, short.token)).toBeNull();
    const listed = await tokens.listTokens("acme");
    const stateOf = (id: string): string | undefined =>
      listed.find((one) => one.tokenId === id)?.status;
    expect([stateOf(tokenId), stateOf(short.tokenId)]).toEqual(["revoked", "expired"]);
  });

  it("is neither listed nor revoked by another tenant", async () => {
    const { token, tokenId } = await tokens.createToken(wanted());
    expect(await tokens.listTokens("globex")).toEqual([]);
    const missing = { code: "ERR_TOKEN_NOT_FOUND" };
    await expect(tokens.revokeToken("globex", tokenId)).rejects.toMatchObject(missing);
    await expect(tokens.revokeToken("acme", "tok_none")).rejects.toMatchObject(missing);
    expect(await findToken(rig.installation, token)).not.toBeNull();
  });

  it("is not made for the installation's log, without scopes, or with a label that is none", async () => {
    for (const more of [{ scopes: [] }, { label: "x".repeat(101) }, { label: "\0" }])
      await expect(tokens.createToken(wanted(more))).rejects.toMatchObject({
        code: "ERR_TOKEN_INVALID",
      });
    await expect(tokens.createToken(wanted({ tenantId: "installation" }))).rejects.toMatchObject({
      code: "ERR_TENANT_INVALID",
    });
  });
});

interface Entry {
  readonly event_type: string;
  readonly data: Record<string, never>;
}

describe("a tenant's own claim, with raw SQL", () => {
  const DENIED = { code: "42501" };

  async function asTenant<T>(tenant: string, sql: string): Promise<T[]> {
    const claims = await claimsBy(rig.owner);
    await beginWith(rig.owner, claims, `tenant/${tenant}`);
    try {
      return (await rig.owner.query(sql)).rows as T[];
    } finally {
      await rig.owner.query("rollback");
    }
  }

  it("reads what is public of its tokens, and of no others", async () => {
    await tokens.createToken(wanted({ tenantId: "initech" }));
    const sql = "select token_id, scopes from sovereign.tokens";
    expect(await asTenant("initech", sql)).toHaveLength(1);
    expect(await asTenant("globex", sql)).toEqual([]);
  });

  it("reads no digest of a token, makes none, finds none and ends none", async () => {
    for (const sql of [
      "select hash from sovereign.tokens",
      "select * from sovereign.tokens",
      "insert into sovereign.tokens (log_id) values ('globex')",
      "update sovereign.tokens set revoked_at = null",
      "delete from sovereign.tokens",
      "select sovereign.token_issue('globex', 'tok_aaaaaaaaaaaaaaaaaaaa', sha256('x'), '', '{runs:read}', now() + interval '1 day')",
      "select sovereign.token_revoke('acme', 'tok_aaaaaaaaaaaaaaaaaaaa')",
      "select * from sovereign.token_find(sha256('x'))",
      "select sovereign.token_count()",
    ])
      await expect(asTenant("globex", sql), sql).rejects.toMatchObject(DENIED);
  });

  it("changes no token even as the tables' owner, but to revoke it", async () => {
    for (const sql of [
      "update sovereign.tokens set expires_at = now() + interval '9 years'",
      "update sovereign.tokens set scopes = '{runs:write}'",
      "update sovereign.tokens set revoked_at = null",
      "delete from sovereign.tokens",
      "truncate sovereign.tokens",
    ])
      await expect(rig.owner.query(sql), sql).rejects.toMatchObject(DENIED);
  });
});
