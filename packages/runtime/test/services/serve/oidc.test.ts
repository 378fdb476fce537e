import { createHmac } from "node:crypto";
import { isSovereignError, type SovereignError } from "@sovereign/core";
import { exportSPKI, importJWK, type JWK, UnsecuredJWT } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { oidc } from "../../../src/home/config.ts";
import { OidcVerifier, type OidcVerdict } from "../../../src/services/serve/oidc-verifier.ts";
import { type Claims, OidcIssuer, oidcSection } from "../../support/oidc-issuer.ts";
import { TestClock } from "../../support/world.ts";

let issuer: OidcIssuer;
let clock: TestClock;
let failures: SovereignError[];
beforeAll(async () => {
  issuer = await OidcIssuer.start();
});
afterAll(() => issuer.close());
beforeEach(() => {
  clock = new TestClock();
  clock.ms = Math.floor(performance.timeOrigin + performance.now());
  failures = [];
});
afterEach(() => issuer.behave("good"));

function verifier(more: object = {}, url = issuer.url): OidcVerifier {
  const settings = oidc.parse(oidcSection(url, more));
  if (settings.issuer === null) throw new Error("it has an issuer");
  return new OidcVerifier({
    settings: { ...settings, issuer: settings.issuer },
    clock,
    hasTenant: (tenant) => tenant === "acme" || tenant === "globex",
    onFailure: (error) => failures.push(error),
  });
}

const now = (): number => Math.floor(clock.ms / 1000);
const claims = (more: Claims = {}): Claims => issuer.claims({ iat: now(), ...more });

async function refusalOf(token: string, more: object = {}): Promise<OidcVerdict["refused"]> {
  return (await verifier(more).verify(token)).refused;
}

describe("a token of the provider", () => {
  it("counts for the tenant and the scopes that its claims give", async () => {
    const token = await issuer.sign(claims());
    const expiresAt = new Date((Number(claims()["exp"]) + 30) * 1000).toISOString();
    expect(await verifier().verify(token)).toEqual({
      identity: {
        ...{ kind: "oidc", tenantId: "acme", issuer: issuer.url, subject: "robot-7" },
        ...{ scopes: ["runs:read", "runs:write"], expiresAt: expect.any(String) as string },
      },
      refused: null,
    });
    const { identity } = await verifier().verify(token);
    expect(Math.abs(Date.parse(identity?.expiresAt ?? "") - Date.parse(expiresAt))).toBeLessThan(
      5000,
    );
  });

  it.each(["PS256", "ES256", "ES384", "EdDSA"])("counts with the algorithm %s", async (alg) => {
    await issuer.addKey(`of ${alg}`, alg);
    const token = await issuer.sign(claims(), { kid: `of ${alg}` });
    expect(await refusalOf(token)).toBeNull();
  });

  it("gives scopes by a list, or by what the settings say of each value", async () => {
    const scopesOf = async (payload: Claims, more: object): Promise<unknown> =>
      (await verifier(more).verify(await issuer.sign(claims(payload)))).identity?.scopes;
    const list = { roles: ["runs:read", "runs:all", 7, null, "evidence:read"] };
    expect(await scopesOf(list, { scope_claim: "roles" })).toEqual(["runs:read", "evidence:read"]);
    const scopes = { robot: ["runs:write"], auditor: ["evidence:read", "runs:read"] };
    const mapped = { scope_claim: "groups", scopes };
    expect(await scopesOf({ groups: ["auditor", "robot", "x"] }, mapped)).toEqual([
      ...["runs:read", "runs:write", "evidence:read"],
    ]);
    // With a map, our own names give nothing; and no name of JavaScript's gives anything.
    const odd = { groups: ["runs:write", "__proto__", "constructor", "toString"] };
    expect(await scopesOf(odd, mapped)).toEqual([]);
    for (const claim of ["__proto__", "constructor"])
      expect(await scopesOf({}, { scope_claim: claim })).toEqual([]);
    expect(await scopesOf({ scope: undefined }, {})).toEqual([]);
    expect(await scopesOf({ scope: 7 }, {})).toEqual([]);
  });

  it.each(["JWT", "jwt", "at+jwt", "application/at+jwt"])("counts if typed %s", async (typ) => {
    expect(await refusalOf(await issuer.sign(claims(), { header: { typ } }))).toBeNull();
  });

  it("counts for one of its audiences", async () => {
    const token = await issuer.sign(claims({ aud: ["other", "sovereign-api"] }));
    expect(await refusalOf(token)).toBeNull();
  });
});

describe("a token is refused", () => {
  it.each<[string, OidcVerdict["refused"], () => Claims]>([
    ["that expired", "expired", () => ({ iat: now() - 600, exp: now() - 31 })],
    ["that never expires", "expired", () => ({ exp: undefined })],
    ["whose end is no number", "expired", () => ({ exp: "9999999999" })],
    ["whose time has not come", "not_yet_valid", () => ({ nbf: now() + 60 })],
    ["of the future", "issued_at", () => ({ iat: now() + 60 })],
    ["that does not say how old it is", "issued_at", () => ({ iat: undefined })],
    ["of the day before", "issued_at", () => ({ iat: now() - 86_500, exp: now() + 600 })],
    ["for others", "audience", () => ({ aud: "other" })],
    ["for nobody", "audience", () => ({ aud: undefined })],
    ["for the empty audience", "audience", () => ({ aud: "" })],
    ["of another issuer", "issuer", () => ({ iss: "https://other.example" })],
    ["of an issuer with a slash more", "issuer", () => ({ iss: `${issuer.url}/` })],
    ["of no issuer", "issuer", () => ({ iss: undefined })],
    ["about nobody", "subject", () => ({ sub: undefined })],
    ["about an empty subject", "subject", () => ({ sub: "" })],
    ["about a subject of two lines", "subject", () => ({ sub: "a\nb" })],
    ["about a subject that is too long", "subject", () => ({ sub: "a".repeat(256) })],
    ["about a subject that is no text", "subject", () => ({ sub: 7 })],
    ["without a tenant", "tenant_claim", () => ({ tenant: undefined })],
    ["of two tenants", "tenant_claim", () => ({ tenant: ["acme", "globex"] })],
    ["of a tenant that is a path", "tenant_claim", () => ({ tenant: "../acme" })],
    ["of the installation itself", "tenant_claim", () => ({ tenant: "installation" })],
    ["of a tenant that there is not", "tenant_unknown", () => ({ tenant: "initech" })],
    ["that is bound to a key", "bound_to_a_key", () => ({ cnf: { jkt: "x" } })],
  ])("%s", async (_what, refused, payload) => {
    expect(await refusalOf(await issuer.sign(claims(payload())))).toBe(refused);
  });

  it("only outside a leeway of 30 seconds, and in it an old one is not kept longer", async () => {
    const late = await issuer.sign(claims({ iat: now() - 600, exp: now() - 20 }));
    expect(await refusalOf(late)).toBeNull();
    const early = await issuer.sign(claims({ nbf: now() + 20, iat: now() + 20 }));
    expect(await refusalOf(early)).toBeNull();
    const forever = await issuer.sign(claims({ exp: 9e15 }));
    const { identity } = await verifier().verify(forever);
    expect(Date.parse(identity?.expiresAt ?? "")).toBe((now() + 86_430) * 1000);
    clock.ms += 86_431_000;
    expect(await refusalOf(forever)).toBe("issued_at");
  });

  it("of a tenant for which the provider may not speak", async () => {
    const token = await issuer.sign(claims({ tenant: "globex" }));
    expect(await refusalOf(token)).toBeNull();
    expect(await refusalOf(token, { tenants: ["acme"] })).toBe("tenant_unknown");
  });

  it.each(["logout+jwt", "secevent+jwt", "dpop+jwt", "", "JOSE"])("if typed %j", async (typ) => {
    expect(await refusalOf(await issuer.sign(claims(), { header: { typ } }))).toBe("type");
  });

  it("without a signature, before anybody is asked for keys", async () => {
    const before = await issuer.asked();
    const none = new UnsecuredJWT(claims()).encode();
    expect(await refusalOf(none)).toBe("algorithm");
    const [, body = ""] = none.split(".");
    for (const alg of ["None", "NONE", "nOnE", "", null, 7, ["RS256"]])
      expect(["algorithm", "malformed"]).toContain(await refusalOf(`${encoded({ alg })}.${body}.`));
    expect(await issuer.asked()).toBe(before);
  });

  it("signed with the public key as if it were a secret", async () => {
    const [jwk] = (await issuer.publicKeys()) as [JWK];
    const key = (await importJWK(jwk, "RS256", { extractable: true })) as CryptoKey;
    const secrets = [await exportSPKI(key), JSON.stringify(jwk), jwk.n ?? "", ""];
    for (const alg of ["HS256", "HS384", "HS512"])
      for (const secret of secrets) {
        const signed = `${encoded({ alg, kid: "first" })}.${encoded(claims())}`;
        const digest = createHmac(alg.replace("HS", "sha"), secret).update(signed);
        expect(await refusalOf(`${signed}.${digest.digest("base64url")}`)).toBe("algorithm");
      }
  });

  it("with the header's own key, or one that the header leads to", async () => {
    const other = await OidcIssuer.start();
    const [jwk] = (await other.publicKeys()) as [JWK];
    for (const header of [{ jwk }, { jku: `${other.url}/keys` }, { x5u: `${other.url}/keys` }]) {
      const token = await other.sign(claims(), { header });
      expect(await refusalOf(token)).toBe("signature");
    }
    expect(await other.asked()).toBe(1);
    await other.close();
  });

  it("with one character changed anywhere", async () => {
    const token = await issuer.sign(claims());
    const one = verifier();
    expect((await one.verify(token)).refused).toBeNull();
    for (let at = 0; at < token.length; at += 7) {
      const found = token.charAt(at);
      const changed = `${token.slice(0, at)}${found === "A" ? "B" : "A"}${token.slice(at + 1)}`;
      // The last character of a part has bits that say nothing: jose refuses or ignores them.
      if (Buffer.from(changed, "base64url").equals(Buffer.from(token, "base64url"))) continue;
      expect((await one.verify(changed)).refused, String(at)).not.toBeNull();
    }
    expect((await one.verify(token.slice(0, -1))).refused).not.toBeNull();
  });

  it("with a header that asks for what nobody here knows", async () => {
    const header = { crit: ["exp"], exp: 1 };
    const [, body = "", signature = ""] = (await issuer.sign(claims())).split(".");
    const forged = encoded({ alg: "RS256", kid: "first", ...header });
    expect(await refusalOf(`${forged}.${body}.${signature}`)).toBe("malformed");
  });

  it("that is none, or too long, before anybody is asked for keys", async () => {
    const before = await issuer.asked();
    const large = await issuer.sign(claims({ more: "a".repeat(8000) }));
    for (const text of ["", "..", "a.b", "a.b.c.d", "a.b.c\n", "ä.b.c", large])
      expect(await refusalOf(text)).toBe("malformed");
    expect(await issuer.asked()).toBe(before);
  });
});

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

describe("keys", () => {
  it("that are new are found when a token names one, and asked for only so often", async () => {
    const one = verifier();
    expect((await one.verify(await issuer.sign(claims()))).refused).toBeNull();
    await issuer.addKey("second", "RS256");
    const token = await issuer.sign(claims(), { kid: "second" });
    expect((await one.verify(token)).refused).toBe("key");
    clock.ms += 30_000;
    const before = await issuer.asked();
    expect((await one.verify(token)).refused).toBeNull();
    const unknown = await issuer.sign(claims(), { header: { kid: "third" } });
    for (let at = 0; at < 20; at++) expect((await one.verify(unknown)).refused).toBe("key");
    expect(await issuer.asked()).toBe(before + 2);
  });

  it("that were withdrawn count no longer than ten minutes", async () => {
    await issuer.addKey("leaked", "ES256");
    const one = verifier();
    const later = (minutes: number): Promise<string> =>
      issuer.sign(claims({ iat: now() + minutes * 60, exp: now() + 7200 }), { kid: "leaked" });
    const [first, second] = [await later(0), await later(9)];
    expect((await one.verify(first)).refused).toBeNull();
    await issuer.publish("first");
    clock.ms += 600_000;
    expect((await one.verify(second)).refused).toBe("key");
    expect((await one.verify(await issuer.sign(claims()))).refused).toBeNull();
  });

  it("are fetched once for all who wait, and again before they are too old", async () => {
    const one = verifier();
    const token = await issuer.sign(claims({ exp: now() + 7200 }));
    const before = await issuer.asked();
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => one.verify(token)));
    expect(new Set(verdicts.map(({ refused }) => refused))).toEqual(new Set([null]));
    expect(await issuer.asked()).toBe(before + 2);
    clock.ms += 300_000;
    expect((await one.verify(token)).refused).toBeNull();
    await until(async () => (await issuer.asked()) === before + 4);
  });

  it("of a provider that is away count until they are too old, and nobody is let in then", async () => {
    const one = verifier();
    const token = await issuer.sign(claims({ exp: now() + 7200 }));
    expect((await one.verify(token)).refused).toBeNull();
    await issuer.behave("is broken");
    clock.ms += 599_000;
    expect((await one.verify(token)).refused).toBeNull();
    await until(() => Promise.resolve(failures.length === 1));
    clock.ms += 1000;
    await expect(one.verify(token)).rejects.toMatchObject({ code: "ERR_OIDC_UNAVAILABLE" });
    // It is not asked again at once, by however many.
    const before = await issuer.asked();
    for (let at = 0; at < 20; at++)
      await expect(one.verify(token)).rejects.toMatchObject({ code: "ERR_OIDC_UNAVAILABLE" });
    expect(await issuer.asked()).toBe(before);
    expect(failures).toHaveLength(1);
    await issuer.behave("good");
    clock.ms += 5000;
    expect((await one.verify(token)).refused).toBeNull();
  });

  it("of a provider that is not there let nobody in", async () => {
    const gone = await OidcIssuer.start();
    const token = await gone.sign(gone.claims());
    await gone.close();
    const asked = verifier({}, gone.url).verify(token);
    await expect(asked).rejects.toMatchObject({ code: "ERR_OIDC_UNAVAILABLE" });
    const [failure] = failures;
    expect(isSovereignError(failure)).toBe(true);
    expect(failure?.message).toContain("ECONNREFUSED");
    for (const part of token.split(".")) expect(failure?.message).not.toContain(part);
  });

  it.each([
    ["is broken", "it answered 500"],
    ["redirects", "redirect"],
    ["is of another", "of another issuer"],
    ["sends no JSON", "expected form"],
    ["names a key twice", "expected form"],
    ["has keys elsewhere", "jwks_uri"],
    ["has keys in a file", "jwks_uri"],
    ["has huge keys", "more than 262144 bytes"],
    ["has keys without end", "more than 262144 bytes"],
    ["has packed huge keys", "more than 262144 bytes"],
    ["has too many keys", "expected form"],
    ["has no keys", "expected form"],
  ])("of a provider that %s let nobody in", async (manner, why) => {
    const token = await issuer.sign(claims());
    await issuer.behave(manner);
    const asked = verifier().verify(token);
    await expect(asked).rejects.toMatchObject({ code: "ERR_OIDC_UNAVAILABLE" });
    expect(failures.map(({ message }) => message)).toEqual([expect.stringContaining(why)]);
  });

  it("of a provider that hangs are waited for no longer than the limit", async () => {
    const asked = ["hangs", "has keys that hang"].map(async (manner) => {
      const slow = await OidcIssuer.start();
      const token = await slow.sign(slow.claims());
      await slow.behave(manner);
      const judged = verifier({}, slow.url).verify(token);
      await expect(judged).rejects.toThrow("did not answer within 5000 ms");
      await slow.close();
    });
    await Promise.all(asked);
    expect(failures).toHaveLength(2);
  });
});

async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("the settings", () => {
  it.each([
    ["http://", { issuer: "http://id.example.org" }],
    ["http:// to this machine, without leave", { allow_loopback_http: false }],
    ["a user in it", { issuer: "https://me@id.example.org" }],
    ["a query", { issuer: "https://id.example.org/?a" }],
    ["no URL", { issuer: "id.example.org" }],
    ["no audience", { audience: null }],
    ["no claim for the tenant", { tenant_claim: null }],
    ["a scope that there is not", { scopes: { robot: ["runs:all"] } }],
    ["a name that is none of theirs", { secret: "x" }],
  ])("refuse %s", (_what, more) => {
    expect(oidc.safeParse(oidcSection(issuer.url, more)).success).toBe(false);
  });

  it("take https, and without an issuer nobody's tokens", () => {
    const more = { allow_loopback_http: false };
    expect(oidc.safeParse(oidcSection("https://id.example.org/realm", more)).success).toBe(true);
    expect(oidc.parse({}).issuer).toBeNull();
  });
});
