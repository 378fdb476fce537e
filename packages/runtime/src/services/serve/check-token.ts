import { SovereignError } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { Config, Settings } from "../../home/index.ts";
import type { Opened } from "../opened.ts";
import { openAuthenticator, type TokenVerdict } from "./authenticator.ts";
import { type ApiIdentity, callerName } from "./identity.ts";

const TOKEN_BYTES_MAX = 16 * 1024;

/** Whose token it is, as the API would take it. */
export type CheckedToken = ApiIdentity & { readonly name: string };

/**
 * Judge a token as the API does. To callers the API says the same of whatever is wrong; this says what.
 *
 * @param file where the token is read: a command's words are seen by others
 * @throws ERR_TOKEN_REFUSED, ERR_OIDC_UNAVAILABLE
 */
export async function checkToken(
  settings: Settings,
  opened: Opened,
  file: string,
): Promise<CheckedToken> {
  const token = readNamed(file, TOKEN_BYTES_MAX)
    .toString("latin1")
    .replace(/\r?\n$/, "");
  const { judge } = openAuthenticator(settings, opened, () => undefined);
  const { identity, refused } = await judge(token);
  if (identity !== null) return { ...identity, name: callerName(identity) };
  const text = `The token does not count: ${TEXTS[refused](settings.config.oidc)}`;
  throw new SovereignError("ERR_TOKEN_REFUSED", text, { refused });
}

type Refusal = Exclude<TokenVerdict["refused"], null>;

/** What was expected. Nothing of the token: it may be good elsewhere. */
const TEXTS: Readonly<Record<Refusal, (oidc: Config["oidc"]) => string>> = {
  unknown: ({ issuer }) =>
    issuer === null
      ? "it is none of ours, or was revoked, or has expired. Our tokens: sovereign tokens list. No identity provider is set (oidc.issuer)."
      : "it is no JSON Web Token, and none of ours that counts. Our tokens: sovereign tokens list",
  malformed: () => "it is no JSON Web Token with the claims that it needs.",
  algorithm: () =>
    "its algorithm is none of RS256, PS256, ES256, ES384 and EdDSA. Set another where it is issued.",
  type: () => "its header says that it is no access token (typ).",
  key: () => "the provider publishes no key for it. It withdrew the key, or never had it.",
  signature: () => "its signature is not that of the provider's key.",
  issuer: ({ issuer }) => `expected the issuer ${issuer ?? ""} (iss; oidc.issuer).`,
  audience: ({ audience }) => `expected the audience ${audience ?? ""} (aud; oidc.audience).`,
  expired: () => "it has expired (exp), or does not say when it does.",
  not_yet_valid: () => "its time has not come (nbf). Compare the clocks.",
  issued_at: () =>
    "expected to be issued within the last day and not in the future (iat). Compare the clocks.",
  bound_to_a_key: () => "it is bound to a key (cnf), which a bearer does not prove to have.",
  subject: () => "expected 1 to 255 printable characters of ASCII as its subject (sub).",
  tenant_claim: ({ tenant_claim }) =>
    `expected the name of a tenant in the claim ${tenant_claim ?? ""} (oidc.tenant_claim).`,
  tenant_unknown: () =>
    "its tenant has no policy in the data folder, or oidc.tenants does not name it.",
};
