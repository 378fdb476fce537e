import { createHash } from "node:crypto";
import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";
import { readJson, readText } from "../inside/plain-json.ts";

/** What stands in the ledger of an answer; what is larger is an artifact alone. */
const INLINE_BYTES_MAX = 12 * 1024;
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE"]);

export interface HttpCallInput {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly json?: unknown;
  readonly allow_status: readonly number[];
  readonly idempotent: boolean;
}

/** How a request may be repeated. */
export function repeatOfRequest({
  method,
  idempotent,
}: Pick<HttpCallInput, "method" | "idempotent">): "safe" | "with_key" | "unsafe" {
  if (SAFE_METHODS.has(method)) return "safe";
  return idempotent ? "with_key" : "unsafe";
}

export async function runHttpCall(asked: HttpCallInput, call: HostCall): Promise<HostEnd> {
  const { url, method } = asked;
  const { status, headers, bytes } = await call.http({
    url,
    method,
    headers: headersOf(asked, call.idempotencyKey),
    body: bodyOf(asked),
    isUnsafe: repeatOfRequest(asked) === "unsafe",
  });
  const isFine = (status >= 200 && status <= 299) || asked.allow_status.includes(status);
  if (!isFine) {
    const hint = status >= 300 && status <= 399 ? "; redirects are not followed" : "";
    throw new SkillFailure(`${new URL(url).host} answered ${status}${hint}`);
  }
  const type = headers["content-type"] ?? "application/octet-stream";
  const value = {
    status,
    headers,
    bytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    ...readBody(bytes, type),
  };
  return { value, keep: [{ name: "body", type: "application/octet-stream", bytes }] };
}

function bodyOf({ body, json }: HttpCallInput): Buffer | null {
  if (json !== undefined) return Buffer.from(JSON.stringify(json));
  return body === undefined ? null : Buffer.from(body);
}

function headersOf({ headers, json, method }: HttpCallInput, key: string): Record<string, string> {
  return {
    "user-agent": "sovereign",
    ...(json === undefined ? {} : { "content-type": "application/json" }),
    ...headers,
    ...(method === "GET" || method === "HEAD" ? {} : { "idempotency-key": key }),
  };
}

/** @param bytes untrusted */
function readBody(bytes: Uint8Array, type: string): { body: string | null; json: unknown } {
  const text = bytes.length > INLINE_BYTES_MAX ? null : readText(bytes);
  if (text === null) return { body: null, json: null };
  if (!/^application\/([a-z0-9.+-]*\+)?json\b/i.test(type)) return { body: text, json: null };
  const json = readJson(text);
  return json === undefined ? { body: text, json: null } : { body: null, json };
}
