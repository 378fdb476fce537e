import type { LedgerEntry } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ApiRig, openApiRig } from "../support/api-rig.ts";
import { schemaFaults } from "../support/event-schemas.ts";
import { OidcIssuer, oidcSection } from "../support/oidc-issuer.ts";
import { filesWith, tablesWith } from "../support/secret-search.ts";

let issuer: OidcIssuer;
let rig: ApiRig;
let ours: string;
let theirs: string;
const SCOPES = "runs:read runs:write evidence:read";
beforeAll(async () => {
  issuer = await OidcIssuer.start();
  rig = await openApiRig(100_000, { oidc: oidcSection(issuer.url) });
  ours = await rig.tokenOf("acme");
  theirs = await issuer.sign(issuer.claims({ scope: SCOPES }));
});
afterAll(async () => {
  await rig.close();
  await issuer.close();
});

const goal = (path: string): object => ({
  ...{ goal: "look", agent_id: "bot" },
  plan: { steps: [{ id: "a", skill: "http_call", with: { url: `http://${rig.host}/${path}` } }] },
});

async function entriesOf(run: string): Promise<LedgerEntry[]> {
  return (await rig.api.readEvents("acme", run, 0)).events.map(({ entry }) => entry);
}

describe("a caller of the identity provider", () => {
  it("has its goal carried out, is named in its first entry, and the evidence is VALID", async () => {
    const run = await rig.carryOut(theirs, goal("a"));
    const [admitted] = await entriesOf(run);
    const { caller } = (admitted?.data ?? {}) as { caller?: object };
    expect(caller).toEqual({
      ...{ door: "http", issuer: issuer.url, subject: "robot-7" },
      scopes: ["runs:read", "runs:write", "evidence:read"],
    });
    expect(schemaFaults("run.admitted", admitted?.data ?? {})).toEqual([]);
    const bundle = await rig.ask(theirs, "GET", `/v1/runs/${run}/bundle`);
    const trust = await rig.ask(theirs, "GET", "/v1/trust-root");
    const trustRoot = Buffer.from(trust.text);
    expect(verifyBundle(Buffer.from(bundle.text), { trustRoot }).verdict).toBe("VALID");
    // Of the same law as a token of ours: but for who asked, the same was recorded.
    const other = await rig.carryOut(ours, goal("a"));
    const typesOf = (entries: LedgerEntry[]): string[] => entries.map((one) => one.event_type);
    expect(typesOf(await entriesOf(run))).toEqual(typesOf(await entriesOf(other)));
  });

  it("is told who it is, and cancels by the name that it is told", async () => {
    const { json } = await rig.ask(theirs, "GET", "/v1/caller");
    expect(json).toMatchObject({
      ...{ tenant_id: "acme", token_id: null, issuer: issuer.url, subject: "robot-7" },
      scopes: SCOPES.split(" "),
    });
    expect(json["name"]).toMatch(/^subject [0-9a-f]{64}$/);
    rig.answer = () => undefined;
    const begun = await rig.ask(theirs, "POST", "/v1/runs", { body: goal("held") });
    const run = String(begun.json["run_id"]);
    const body = { reason: "not needed" };
    const ended = await rig.ask(theirs, "POST", `/v1/runs/${run}/cancel`, { body });
    expect(ended.status).toBe(200);
    expect(String(ended.json["reason"])).toContain(String(json["name"]));
  });

  it("reaches nothing of another tenant, and nothing beyond its scopes", async () => {
    const run = await rig.carryOut(ours, goal("a"));
    const globex = await issuer.sign(issuer.claims({ tenant: "globex" }));
    const none = `run_${"z".repeat(20)}`;
    const found = await rig.ask(globex, "GET", `/v1/runs/${run}`);
    const unknown = await rig.ask(globex, "GET", `/v1/runs/${none}`);
    expect(found.status).toBe(404);
    expect(found.text.replaceAll(run, none)).toBe(unknown.text);
    const weak = await issuer.sign(issuer.claims({ scope: "runs:read" }));
    const submitted = await rig.ask(weak, "POST", "/v1/runs", { body: goal("a") });
    expect(submitted).toMatchObject({ status: 403, json: { code: "ERR_HTTP_SCOPE" } });
    const idle = await issuer.sign(issuer.claims({ scope: "openid email" }));
    expect(await rig.ask(idle, "GET", "/v1/runs")).toMatchObject({
      status: 403,
      json: { code: "ERR_HTTP_SCOPE", detail: expect.stringContaining("found none") as string },
    });
  });

  it("with a token that does not count is told the same as anybody", async () => {
    const second = 1000;
    const claims = issuer.claims();
    const now = Number(claims["iat"]);
    const tokens = [
      await issuer.sign({ ...claims, iat: now - second, exp: now - second / 2 }),
      await issuer.sign({ ...claims, nbf: now + second }),
      await issuer.sign({ ...claims, aud: "other" }),
      await issuer.sign({ ...claims, iss: "https://other.example" }),
      await issuer.sign({ ...claims, tenant: undefined }),
      await issuer.sign({ ...claims, tenant: "initech" }),
      await issuer.sign(claims, { header: { kid: "unknown" } }),
      `${theirs.slice(0, -8)}AAAAAAAA`,
      new UnsecuredJWT(claims).encode(),
      `${theirs}${"a".repeat(9000)}`,
    ];
    const expected = await rig.ask("x", "GET", "/v1/runs");
    expect(expected.status).toBe(401);
    for (const [at, token] of tokens.entries()) {
      const { status, text } = await rig.ask(token, "GET", "/v1/runs");
      expect([at, status, text]).toEqual([at, 401, expected.text]);
    }
  });

  it("whatever many tokens it has, asks no more often than one caller may", async () => {
    const slow = await openApiRig(1, { oidc: oidcSection(issuer.url) });
    const statuses: number[] = [];
    for (let at = 0; at < 8; at++) {
      const token = await issuer.sign(issuer.claims({ jti: String(at) }));
      statuses.push((await slow.ask(token, "GET", "/v1/caller")).status);
    }
    expect(statuses[0]).toBe(200);
    expect(statuses).toContain(429);
    const other = await issuer.sign(issuer.claims({ sub: "robot-8" }));
    expect((await slow.ask(other, "GET", "/v1/caller")).status).toBe(200);
    await slow.close();
  });
});

describe("a provider that cannot be asked", () => {
  it("has its tokens refused with 503, and lets tokens of ours in", async () => {
    const gone = await OidcIssuer.start();
    const token = await gone.sign(gone.claims());
    await gone.close();
    const alone = await openApiRig(100_000, { oidc: oidcSection(gone.url) });
    const { status, json, headers } = await alone.ask(token, "GET", "/v1/runs");
    expect([status, json["code"]]).toEqual([503, "ERR_OIDC_UNAVAILABLE"]);
    expect(headers.get("retry-after")).toBe("1");
    expect(JSON.stringify(json)).not.toContain(gone.url);
    expect(alone.events.map(({ event }) => event)).toEqual(["oidc.unavailable"]);
    expect((await alone.ask(await alone.tokenOf("acme"), "GET", "/v1/runs")).status).toBe(200);
    // A flood of what cannot be told is refused by its address, as every other.
    let last = 503;
    for (let at = 0; at < 60 && last === 503; at++)
      last = (await alone.ask(`${token.slice(0, -4)}AAAA`, "GET", "/v1/runs")).status;
    expect(last).toBe(429);
    expect(alone.events).toHaveLength(1);
    await alone.close();
  });
});

describe("a token of the provider", () => {
  it("is nowhere: no row, no file, no event and no answer has its signature", async () => {
    const [, , signature = "none"] = theirs.split(".");
    expect(signature.length).toBeGreaterThan(100);
    expect(JSON.stringify([rig.events, rig.faults])).not.toContain(signature);
    expect(filesWith(rig.home, signature)).toEqual([]);
    expect(await tablesWith(rig.owner, signature)).toEqual([]);
  });
});
