import { deepFreeze } from "../json/index.ts";
import { z } from "zod";
import { timestamp } from "./common.ts";

/** What a caller of the HTTP API may do. */
export const API_SCOPES = deepFreeze([
  "runs:read",
  "runs:write",
  "evidence:read",
  "skills:read",
  "incidents:read",
  "incidents:write",
  "budgets:read",
] as const);
export type ApiScope = (typeof API_SCOPES)[number];

const scopes = z.array(z.enum(API_SCOPES)).min(1).max(20);

export const tokenId = z.string().regex(/^tok_[a-z0-9]{20}$/, "expected tok_ and 20 of a-z 0-9");

/** What people call a token by. */
export const tokenLabel = z
  .string()
  .max(100)
  .refine((text) => text.isWellFormed() && !text.includes("\0"), "expected a text");

/** A token of the HTTP API, as everybody may know it. */
export const apiToken = z.strictObject({
  token_id: tokenId,
  scopes,
  label: tokenLabel,
  expires_at: timestamp,
});

/** An identity provider, as its tokens and its discovery document name it. */
export const oidcIssuer = z
  .string()
  .max(200)
  .regex(/^https?:\/\/[\x21-\x7e]+$/, "expected a URL");

/** Whom a token of an identity provider is about (OpenID Connect Core 1.0 §2). */
export const oidcSubject = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/, "expected 1 to 255 printable characters of ASCII");

const door = z.literal("http");

/**
 * Who submitted a run over the network, as the server knew it: in the run's first entry. Either a token
 * of our own, or the subject of an identity provider.
 */
export const apiCaller = z.union([
  z.strictObject({ door, token_id: tokenId, scopes }),
  z.strictObject({ door, issuer: oidcIssuer, subject: oidcSubject, scopes }),
]);
export type ApiCaller = z.infer<typeof apiCaller>;
