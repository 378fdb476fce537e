import { fields } from "@sovereign/core";
import { z } from "zod";
import { holdsSecret } from "../../agents/index.ts";
import { isOurHeader } from "../../gateway/index.ts";
import { hostOf, plainUrl } from "../host-name.ts";
import { defineSkill } from "../skill.ts";
import { repeatOfRequest, runHttpCall } from "./run.ts";

const HEADERS_MAX = 40;
/** A plan stands in the ledger, for ever: these refer to a secret, or are not there. */
const SECRET_HEADERS: ReadonlySet<string> = new Set([
  ...["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"],
]);

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, "expected the name of a header")
  .refine((name) => !isOurHeader(name), "this header is set by the runtime");
const headerValue = z
  .string()
  .max(2000)
  .regex(/^[\x20-\x7e]*$/, "expected printable ASCII");

const input = z.strictObject({
  url: plainUrl,
  method: z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]).default("GET"),
  headers: z
    .record(headerName, headerValue)
    .refine((headers) => Object.keys(headers).length <= HEADERS_MAX, "expected fewer headers")
    .refine(
      (headers) =>
        Object.entries(headers).every(
          ([name, value]) => !SECRET_HEADERS.has(name.toLowerCase()) || holdsSecret(value),
        ),
      "a plan stands in the ledger: a header that holds a secret says ${{ secrets.NAME }}",
    )
    .default({}),
  body: z.string().max(20_000).optional(),
  json: fields.json.optional(),
  /** Besides 200 to 299. */
  allow_status: z.array(z.int().min(100).max(599)).max(50).default([]),
  /** The server does a request with a known Idempotency-Key once. */
  idempotent: z.boolean().default(false),
});

const output = z.strictObject({
  status: z.int(),
  headers: z.record(z.string(), z.string()),
  bytes: fields.count,
  sha256: fields.digest,
  /** The text; null where it is JSON, too large, or no text. */
  body: z.string().nullable(),
  json: fields.json,
});

/** One request, to one address that was looked at; redirects are not followed. */
export const httpCall = defineSkill({
  name: "http_call",
  version: "1.1.0",
  text: "Call an HTTP server and keep its answer.",
  input,
  output,
  reversible: false,
  secrets: ["headers.*"],
  repeat: repeatOfRequest,
  resource: ({ url }) => hostOf(url),
  hosts: ({ url }) => [hostOf(url)],
  run: runHttpCall,
});
